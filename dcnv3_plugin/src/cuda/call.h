// What the checked entry points hand to the kernels of one type.
#pragma once

#include <cstdint>

#include "dcnv3/dcnv3_cuda.h"
#include "samples.cuh"
#include "workspace.cuh"

namespace dcnv3 {
namespace cuda {

struct Call {
  Geometry g;  // all but the tile
  int kernel_w;
  dcnv3_array output;       // of the forward pass, or its gradient in the backward pass
  dcnv3_tensors gradients;  // of the backward pass
  bool aligned;             // addresses of input and output are multiples of 16
  bool deterministic;
  void* workspace;
  void* stream;
};

// Where the input's gradient is summed. A pixel gets at most the whole of every sample of its group, and the gate's
// share of its own output.
inline Workspace workspace_of(const Call& call) {
  const Geometry& g = call.g;
  return Workspace(call.gradients.input, g.batch * g.map.height * g.map.width * g.pixel,
                   g.points * g.out_height * g.out_width + 1, call.deterministic, call.workspace);
}

struct Passes {
  int (*forward)(const Call&);
  int (*backward)(const Call&);
};

extern const Passes passes_f32, passes_f16, passes_bf16;

}  // namespace cuda
}  // namespace dcnv3
