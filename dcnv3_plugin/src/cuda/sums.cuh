// Sums of the input's gradient, to which all threads add in any order.
//
// Float sums depend on the order in their last bits. Fixed-point sums do not: every number is rounded to a multiple of
// one small unit, and sums of whole numbers are exact. The unit follows from the largest number that is added and
// from how many there can be, so that 64 bits hold every sum.
#pragma once

#include <cstdint>
#include <cstring>

#include "device.cuh"

namespace dcnv3 {
namespace cuda {

template <typename A>
DCNV3_DEVICE bool is_finite(A v) { return v - v == 0; }
DCNV3_DEVICE float most_finite() { return 3.402823466e38f; }

// The larger of `a` and |b|; what is not finite does not count.
DCNV3_DEVICE float largest(float a, float b) { return is_finite(b) && fabsf(b) > a ? fabsf(b) : a; }

// |a b|, at most the largest float; 0 if one of them is not finite.
DCNV3_DEVICE float product(float a, float b) {
  if (!is_finite(a) || !is_finite(b)) return 0;
  const float size = fabsf(a * b);
  return size < most_finite() ? size : most_finite();
}

struct Sums {
  float* plain;         // sums in float; in fixed point, of what is not finite
  std::int64_t* fixed;  // NULL: none
  std::uint32_t* largest_bits;
  int count_bits;  // so many bits count the numbers that can meet in one sum

  DCNV3_DEVICE void raise_bound(const Block& block, float v) const {
    std::uint32_t bits;
    std::memcpy(&bits, &v, sizeof bits);  // floats that are not negative are ordered as their bits are
    block.raise(largest_bits, bits);
  }

  // Numbers are multiples of 2^-shift.
  DCNV3_DEVICE int shift() const {
    if (fixed == nullptr) return 0;
    float v;
    std::memcpy(&v, largest_bits, sizeof v);
    return v > 0 ? 62 - count_bits - (ilogbf(v) + 1) : 0;
  }

  DCNV3_DEVICE void add(const Block& block, std::int64_t at, float v, int shift) const {
    if (fixed == nullptr || !is_finite(v))
      block.add(plain + at, v);
    else
      block.add(fixed + at, static_cast<std::int64_t>(llrintf(scalbnf(v, shift))));
  }

  DCNV3_DEVICE float get(std::int64_t at, int shift) const {
    if (fixed == nullptr) return plain[at];
    return static_cast<float>(ldexp(static_cast<double>(fixed[at]), -shift)) + plain[at];
  }
};

// Writes the sums as numbers of type T.
template <typename T>
struct Finish {
  struct Args {
    Sums sums;
    T* result;
    std::int64_t size, blocks;
  };
  static constexpr int kThreads = 256, kBlocks = 4;

  DCNV3_DEVICE static void run(const Args& args, Block& block) {
    const int shift = args.sums.shift();
    block.each([&](int thread) {
      for (std::int64_t i = block.index() * block.threads() + thread; i < args.size; i += args.blocks * block.threads())
        from_float(args.sums.get(i, shift), args.result[i]);
    });
  }
};

}  // namespace cuda
}  // namespace dcnv3
