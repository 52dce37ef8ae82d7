// Vectors of channels: loads, stores and sums that the compiler turns into whatever the instruction set has.
//
// Everything that is compiled once per instruction set lives in a namespace of its own, and uses no function
// template of the standard library: the linker merges functions of one name, and would give all the same copy.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <cstring>

namespace dcnv3 {
namespace DCNV3_ISA {

struct bf16 {
  std::uint16_t bits;
};

inline float to_float(bf16 x) {
  std::uint32_t bits = std::uint32_t{x.bits} << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}
inline float to_float(float x) { return x; }
inline double to_float(double x) { return x; }

inline void from_float(float x, float& out) { out = x; }
inline void from_float(double x, double& out) { out = x; }
inline void from_float(float x, bf16& out) {
  std::uint32_t bits;
  std::memcpy(&bits, &x, sizeof bits);
  // Round to nearest, ties to even; a NaN stays one.
  out.bits = x != x ? std::uint16_t{0x7fc0} : static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

template <typename N, int L>
struct Lanes {
  typedef N type __attribute__((vector_size(sizeof(N) * L)));
};

// L lanes of the arithmetic type A (float or double).
template <typename A, int L>
struct Vec {
  typedef typename Lanes<A, L>::type type;
  typedef typename Lanes<std::uint16_t, L>::type narrow;
  typedef typename Lanes<std::uint32_t, L>::type wide;
  type v;

  static Vec zero() { return {type{}}; }
  static Vec all(A x) { return {type{} + x}; }

  static Vec load(const A* p) {
    Vec r;
    std::memcpy(&r.v, p, sizeof r.v);
    return r;
  }
  static Vec load(const bf16* p) {
    narrow n;
    std::memcpy(&n, p, sizeof n);
    wide w = __builtin_convertvector(n, wide) << 16;
    Vec r;
    std::memcpy(&r.v, &w, sizeof r.v);
    return r;
  }
  void store(A* p) const { std::memcpy(p, &v, sizeof v); }
  void store(bf16* p) const {
    wide w;
    std::memcpy(&w, &v, sizeof w);
    wide rounded = (w + 0x7fff + ((w >> 16) & 1)) >> 16;
    // Of a NaN's bits, 0x7f800001 and above without the sign, rounding would make anything.
    wide nan = (wide)((w & 0x7fffffffu) > 0x7f800000u);
    rounded = (nan & 0x7fc0u) | (~nan & rounded);
    narrow n = __builtin_convertvector(rounded, narrow);
    std::memcpy(p, &n, sizeof n);
  }

  friend Vec operator+(Vec a, Vec b) { return {a.v + b.v}; }
  friend Vec operator*(Vec a, Vec b) { return {a.v * b.v}; }
  friend Vec operator*(Vec a, A b) { return {a.v * b}; }
  Vec& operator+=(Vec b) {
    v += b.v;
    return *this;
  }
};

// Sum of all lanes: halves are added until two lanes are left.
template <typename A, int L>
inline A lane_sum(Vec<A, L> x) {
  if constexpr (L == 2) {
    return x.v[0] + x.v[1];
  } else {
    Vec<A, L / 2> low, high;
    std::memcpy(&low.v, &x.v, sizeof low.v);
    std::memcpy(&high.v, reinterpret_cast<const char*>(&x.v) + sizeof low.v, sizeof high.v);
    return lane_sum(low + high);
  }
}

// e to the power of x, for x <= 0, in operations that a loop's vectors have: x = n ln 2 + r with |r| <= ln 2 / 2, and
// a polynomial for e^r; off by less than two units in the last place.
inline float exponential(float x) {
  const float within = x < -87.0f ? -87.0f : x;
  const float n = __builtin_floorf(within * 1.44269504f + 0.5f);
  const float r = (within - n * 0.693359375f) + n * 2.12194440e-4f;
  float p = 1.9875691500e-4f;
  p = p * r + 1.3981999507e-3f;
  p = p * r + 8.3334519073e-3f;
  p = p * r + 4.1665795894e-2f;
  p = p * r + 1.6666665459e-1f;
  p = p * r + 5.0000001201e-1f;
  p = p * r * r + r + 1.0f;
  // A NaN has no whole number: any will do, for p is a NaN too.
  const std::int32_t power = n >= -126.0f ? static_cast<std::int32_t>(n) : 0;
  const std::int32_t bits = (power + 127) << 23;
  float scale;
  std::memcpy(&scale, &bits, sizeof scale);
  return x < -87.0f ? 0.0f : p * scale;
}
inline double exponential(double x) { return __builtin_exp(x); }

// Work area of plain numbers, of exactly their size, so that sanitizers see its end; `ok` is false where there was no
// memory.
template <typename T>
class Buffer {
 public:
  explicit Buffer(std::size_t size) : data_(static_cast<T*>(std::malloc((size > 0 ? size : 1) * sizeof(T)))) {}
  ~Buffer() { std::free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  bool ok() const { return data_ != nullptr; }
  T* data() { return data_; }
  T& operator[](std::int64_t i) { return data_[i]; }
  const T& operator[](std::int64_t i) const { return data_[i]; }

 private:
  T* data_;
};

template <typename T>
inline T least(T a, T b) {
  return b < a ? b : a;
}

}  // namespace DCNV3_ISA
}  // namespace dcnv3
