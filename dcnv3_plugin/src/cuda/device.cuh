// What kernels use of the machine: blocks of threads with barriers, shared memory, sums in global memory, launches.
//
// A kernel is a class with a function `run(args, block)`. `block.each(f)` calls f(thread) for every thread of the block
// and ends with a barrier: what one phase wrote, the next may read. Outside of `each`, nothing may depend on the thread
// and nothing is written. So the same source runs on a GPU, and on a CPU with host_shim/device.h, where `each` is a
// loop.
#pragma once

#if defined(DCNV3_ON_HOST)
#include "host_shim/device.h"
#else

#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>

#include <cstdint>

#include "dcnv3/dcnv3.h"

#define DCNV3_DEVICE __device__ __forceinline__
#define DCNV3_BOTH __host__ __device__ __forceinline__
#define DCNV3_PRAGMA(text) _Pragma(#text)
#define DCNV3_UNROLL DCNV3_PRAGMA(unroll)
#define DCNV3_UNROLL_BY(n) DCNV3_PRAGMA(unroll n)

namespace dcnv3 {
namespace cuda {

using f16 = __half;
using bf16 = __nv_bfloat16;
using Stream = cudaStream_t;

DCNV3_DEVICE float to_float(float v) { return v; }
DCNV3_DEVICE float to_float(f16 v) { return __half2float(v); }
DCNV3_DEVICE float to_float(bf16 v) { return __bfloat162float(v); }
DCNV3_DEVICE void from_float(float v, float& to) { to = v; }
DCNV3_DEVICE void from_float(float v, f16& to) { to = __float2half_rn(v); }
DCNV3_DEVICE void from_float(float v, bf16& to) { to = __float2bfloat16_rn(v); }

// Rounded by themselves, never part of a fused multiply-add.
DCNV3_DEVICE double unfused_add(double a, double b) { return __dadd_rn(a, b); }
DCNV3_DEVICE double unfused_multiply(double a, double b) { return __dmul_rn(a, b); }

// 16 bytes at once; both addresses are multiples of 16.
DCNV3_DEVICE void copy16(void* to, const void* from) { *static_cast<uint4*>(to) = *static_cast<const uint4*>(from); }

class Block {
 public:
  DCNV3_DEVICE explicit Block(void* shared) : next_(static_cast<char*>(shared)) {}

  DCNV3_DEVICE std::int64_t index() const { return blockIdx.x; }
  DCNV3_DEVICE int threads() const { return static_cast<int>(blockDim.x); }

  // Shared memory for `count` objects; types of wide alignment are taken first.
  template <typename N>
  DCNV3_DEVICE N* take(int count) {
    N* taken = reinterpret_cast<N*>(next_);
    next_ += sizeof(N) * count;
    return taken;
  }

  template <typename F>
  DCNV3_DEVICE void each(const F& phase) const {
    phase(static_cast<int>(threadIdx.x));
    __syncthreads();
  }

  DCNV3_DEVICE static void add(float* to, float v) { atomicAdd(to, v); }
  DCNV3_DEVICE static void add(std::int64_t* to, std::int64_t v) {
    atomicAdd(reinterpret_cast<unsigned long long*>(to), static_cast<unsigned long long>(v));
  }
  DCNV3_DEVICE static void raise(std::uint32_t* to, std::uint32_t v) { atomicMax(to, v); }

 private:
  char* next_;
};

// What CUDA said last to this thread when it refused something.
inline thread_local cudaError_t last_error = cudaSuccess;
inline const char* device_text() { return cudaGetErrorString(last_error); }

inline int status_of(cudaError_t error) {
  if (error == cudaSuccess) return DCNV3_OK;
  last_error = error;
  return DCNV3_DEVICE_ERROR;
}

inline int fill_zero(void* data, std::uint64_t bytes, Stream stream) {
  return bytes == 0 ? DCNV3_OK : status_of(cudaMemsetAsync(data, 0, bytes, stream));
}

template <typename Kernel>
__global__ void __launch_bounds__(Kernel::kThreads, Kernel::kBlocks) run(const typename Kernel::Args args) {
  extern __shared__ float4 shared[];
  Block block(shared);
  Kernel::run(args, block);
}

template <typename Kernel>
int launch(const typename Kernel::Args& args, std::int64_t blocks, int threads, std::size_t shared, Stream stream) {
  if (blocks > 0x7fffffff) return DCNV3_UNSUPPORTED;
  void* arguments[] = {const_cast<typename Kernel::Args*>(&args)};
  return status_of(cudaLaunchKernel(reinterpret_cast<const void*>(&run<Kernel>), dim3(static_cast<unsigned>(blocks)),
                                    dim3(static_cast<unsigned>(threads)), arguments, shared, stream));
}

}  // namespace cuda
}  // namespace dcnv3

#endif  // DCNV3_ON_HOST
