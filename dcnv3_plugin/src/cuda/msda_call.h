// Multi-scale deformable attention: what the checked entry points hand to the kernels of one type.
#pragma once

#include <cstdint>

#include "msda_samples.cuh"
#include "workspace.cuh"

namespace dcnv3 {
namespace cuda {
namespace msda {

struct Call {
  Geometry g;  // all but the tile
  std::int64_t batch;
  dcnv3_array output;            // of the forward pass, or its gradient in the backward pass
  dcnv3_msda_tensors gradients;  // of the backward pass
  bool aligned;                  // addresses of value and output are multiples of 16
  bool deterministic;
  void* workspace;
  void* stream;
};

// Where the value's gradient is summed. A pixel gets at most the whole of every sample of its head.
inline Workspace workspace_of(const Call& call) {
  return Workspace(call.gradients.value, call.batch * call.g.image, call.g.queries * call.g.samples, call.deterministic,
                   call.workspace);
}

struct Passes {
  int (*forward)(const Call&);
  int (*backward)(const Call&);
};

extern const Passes passes_f32, passes_f16, passes_bf16;

}  // namespace msda
}  // namespace cuda
}  // namespace dcnv3
