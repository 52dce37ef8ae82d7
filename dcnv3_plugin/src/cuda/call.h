// What the checked entry points hand to the kernels of one type.
#pragma once

#include <cstdint>

#include "dcnv3/dcnv3_cuda.h"
#include "samples.cuh"
#include "sums.cuh"

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

// Where the input's gradient is summed: in the result itself, or where its type is too coarse or sums are in fixed
// point, in the caller's workspace, cleared before: [numbers] 64-bit sums, [numbers] floats, the bound.
class Workspace {
 public:
  explicit Workspace(const Call& call) : call_(call) {}

  std::int64_t numbers() const {
    return call_.g.batch * call_.g.height * call_.g.width * call_.g.group * call_.g.channels;
  }

  std::uint64_t bytes() const {
    if (call_.gradients.input.data == nullptr) return 0;
    const std::uint64_t count = static_cast<std::uint64_t>(numbers());
    if (call_.deterministic) return count * (sizeof(std::int64_t) + sizeof(float)) + sizeof(std::uint32_t);
    return call_.gradients.input.type == DCNV3_F32 ? 0 : count * sizeof(float);
  }

  Sums sums() const {
    Sums sums{};
    if (!call_.deterministic) {
      sums.plain = static_cast<float*>(bytes() > 0 ? call_.workspace : call_.gradients.input.data);
      return sums;
    }
    sums.fixed = static_cast<std::int64_t*>(call_.workspace);
    sums.plain = reinterpret_cast<float*>(sums.fixed + numbers());
    sums.largest_bits = reinterpret_cast<std::uint32_t*>(sums.plain + numbers());
    // A pixel gets at most the whole of every sample of its group, and the gate's share of its own output.
    std::int64_t most = call_.g.points * call_.g.out_height * call_.g.out_width + 1;
    for (; most > 0; most /= 2) ++sums.count_bits;
    return sums;
  }

 private:
  const Call& call_;
};

struct Passes {
  int (*forward)(const Call&);
  int (*backward)(const Call&);
};

extern const Passes passes_f32, passes_f16, passes_bf16;

}  // namespace cuda
}  // namespace dcnv3
