// cuda/device.cuh for the host: the same kernels, run by loops over blocks and threads.
//
// It is strict where a GPU would only sometimes fail. Shared memory is new for every block, filled with NaN and guarded
// at its end. The order of threads and blocks can be turned and scrambled: a kernel that lacks a barrier, or whose
// result depends on the order, gives different results.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "dcnv3/dcnv3.h"

#define DCNV3_DEVICE inline
#define DCNV3_BOTH inline
#define DCNV3_UNROLL
#define DCNV3_UNROLL_BY(n)

namespace dcnv3 {
namespace cuda {

struct f16 {
  std::uint16_t bits;
};
struct bf16 {
  std::uint16_t bits;
};
using Stream = void*;

inline float to_float(float v) { return v; }
inline float of_bits(std::uint32_t bits) {
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float to_float(bf16 v) { return of_bits(std::uint32_t{v.bits} << 16); }
inline float to_float(f16 v) {
  const std::uint32_t sign = std::uint32_t{v.bits & 0x8000u} << 16, exponent = (v.bits >> 10) & 31u;
  const std::uint32_t fraction = v.bits & 1023u;
  if (exponent == 0) return of_bits(sign | 0x33800000u) * static_cast<float>(fraction);  // steps of 2^-24
  return of_bits(sign | (exponent == 31 ? 255u : exponent + 112) << 23 | fraction << 13);
}

inline void from_float(float v, float& to) { to = v; }
inline void from_float(float v, bf16& to) {
  std::uint32_t bits;
  std::memcpy(&bits, &v, sizeof bits);
  // To the nearest, ties to even; a NaN stays one.
  to.bits = v != v ? 0x7fff : static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}
inline void from_float(float v, f16& to) {
  const std::uint16_t sign = std::signbit(v) ? 0x8000 : 0;
  const float size = std::fabs(v);
  std::uint16_t bits = 0x7fff;
  if (size >= 65520.0f) {
    bits = 0x7c00;
  } else if (size < 65520.0f) {
    // Numbers of one exponent are evenly spaced; the smallest exponent has the subnormal ones too.
    const int exponent = size < 6.103515625e-05f ? -14 : std::ilogb(size);
    const int steps = static_cast<int>(std::nearbyint(std::ldexp(size, 10 - exponent)));
    bits = static_cast<std::uint16_t>(((exponent + 14) << 10) + steps);
  }
  to.bits = sign | bits;
}

// Rounded by themselves: the host's build forbids fused multiply-adds everywhere.
inline double unfused_add(double a, double b) { return a + b; }
inline double unfused_multiply(double a, double b) { return a * b; }

inline void copy16(void* to, const void* from) { std::memcpy(to, from, 16); }

// How threads and blocks follow each other: 0 as they are counted, 1 backwards, 2 scrambled.
inline int order = 0;
inline std::int64_t in_order(std::int64_t i, std::int64_t count) {
  // A step without a factor in common with the count visits everything once.
  if (order == 2 && count % 61 != 0) return (i * 61 + 17) % count;
  return order == 0 ? i : count - 1 - i;
}

class Block {
 public:
  Block(std::int64_t index, int threads, char* shared, std::size_t bytes)
      : index_(index), threads_(threads), next_(shared), left_(bytes) {}

  std::int64_t index() const { return index_; }
  int threads() const { return threads_; }

  template <typename N>
  N* take(int count) {
    const std::size_t bytes = sizeof(N) * static_cast<std::size_t>(count);
    if (bytes > left_ || reinterpret_cast<std::uintptr_t>(next_) % alignof(N) != 0) __builtin_trap();
    N* taken = reinterpret_cast<N*>(next_);
    next_ += bytes;
    left_ -= bytes;
    return taken;
  }

  template <typename F>
  void each(const F& phase) const {
    for (int i = 0; i < threads_; ++i) phase(static_cast<int>(in_order(i, threads_)));
  }

  static void add(float* to, float v) { *to += v; }
  static void add(std::int64_t* to, std::int64_t v) { *to += v; }
  static void raise(std::uint32_t* to, std::uint32_t v) { *to = *to < v ? v : *to; }

 private:
  std::int64_t index_;
  int threads_;
  char* next_;
  std::size_t left_;
};

inline thread_local const char* last_error = "no error";
inline const char* device_text() { return last_error; }

inline int refuse(const char* reason) {
  last_error = reason;
  return DCNV3_DEVICE_ERROR;
}

inline int fill_zero(void* data, std::uint64_t bytes, Stream) {
  if (bytes > 0) std::memset(data, 0, bytes);
  return DCNV3_OK;
}

// The launch with the most shared memory since this was last cleared: what a call costs a multiprocessor.
struct Launch {
  std::int64_t blocks, threads, shared;
};
inline Launch largest_launch = {};

template <typename Kernel>
int launch(const typename Kernel::Args& args, std::int64_t blocks, int threads, std::size_t shared, Stream) {
  constexpr std::size_t kGuard = 64;
  if (blocks < 1 || threads < 1 || threads > Kernel::kThreads) return refuse("a launch without blocks or threads");
  if (shared > 48 * 1024) return refuse("more shared memory than every GPU gives without being asked");
  const Launch launched = {blocks, threads, static_cast<std::int64_t>(shared)};
  if (launched.shared >= largest_launch.shared) largest_launch = launched;
  std::vector<std::max_align_t> memory((shared + kGuard) / sizeof(std::max_align_t) + 1);
  char* bytes = reinterpret_cast<char*>(memory.data());
  for (std::int64_t i = 0; i < blocks; ++i) {
    std::memset(bytes, 0xff, shared + kGuard);
    Block block(in_order(i, blocks), threads, bytes, shared);
    Kernel::run(args, block);
    for (std::size_t k = 0; k < kGuard; ++k)
      if (bytes[shared + k] != '\xff') return refuse("a kernel wrote beyond its shared memory");
  }
  return DCNV3_OK;
}

}  // namespace cuda
}  // namespace dcnv3
