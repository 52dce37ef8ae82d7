// What the test programs share: random sizes, numbers in memory of exactly their size, bilinear samples by their
// definition, and comparisons.
//
// Built with the address sanitizer (DCNV3_SANITIZE), any access beside an array ends the program.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "dcnv3/dcnv3.h"

namespace test {

using Values = std::vector<double>;

inline int failures = 0;

inline void check(bool good, const char* what, int round) {
  if (good) return;
  std::printf("round %d: %s\n", round, what);
  ++failures;
}

class Random {
 public:
  int between(int low, int high) { return std::uniform_int_distribution<int>(low, high)(engine_); }
  bool chance(int one_in) { return between(1, one_in) == 1; }
  int type() {
    constexpr int types[] = {DCNV3_F32, DCNV3_F64, DCNV3_BF16};
    return types[between(0, 2)];
  }
  Values normal(std::int64_t size, double spread) {
    Values v(static_cast<std::size_t>(size));
    for (double& x : v) x = std::normal_distribution<double>(0, spread)(engine_);
    return v;
  }
  // Puts numbers that are no place among the others.
  void make_wild(Values& v, bool with_nan) {
    constexpr double infinity = std::numeric_limits<double>::infinity();
    const double wild[] = {infinity, -infinity, 1e300, -1e300, 2147483648.0, -1e9, std::nan("")};
    for (double& x : v)
      if (chance(4)) x = wild[between(0, with_nan ? 6 : 5)];
  }

 private:
  std::mt19937 engine_{7};
};

// Numbers of one type, in memory that ends where they do; each starts as a NaN.
class Numbers {
 public:
  Numbers(std::size_t count, int type) : type_(type), count_(count), bytes_(count * width(), 0xff) {}
  Numbers(const Values& values, int type) : Numbers(values.size(), type) {
    for (std::size_t i = 0; i < count_; ++i) put(i, values[i]);
  }

  int type() const { return type_; }
  const std::vector<unsigned char>& bytes() const { return bytes_; }
  dcnv3_array array() { return {count_ == 0 ? nullptr : bytes_.data(), type_, 0}; }

  // The numbers as they are stored, rounded to their type.
  Values values() const {
    Values all(count_);
    for (std::size_t i = 0; i < count_; ++i) all[i] = get(i);
    return all;
  }

 private:
  std::size_t width() const { return type_ == DCNV3_F64 ? 8 : (type_ == DCNV3_F32 ? 4 : 2); }

  void put(std::size_t i, double value) {
    const float narrow = static_cast<float>(value);
    std::uint32_t bits;
    std::memcpy(&bits, &narrow, sizeof bits);
    // To the nearest, ties to even.
    const std::uint32_t top = std::isnan(value) ? 0x7fc0 : (bits + 0x7fff + (bits >> 16 & 1)) >> 16;
    const std::uint16_t half = static_cast<std::uint16_t>(top);
    const void* from = type_ == DCNV3_F64 ? static_cast<const void*>(&value)
                                          : (type_ == DCNV3_F32 ? static_cast<const void*>(&narrow) : &half);
    std::memcpy(&bytes_[i * width()], from, width());
  }

  double get(std::size_t i) const {
    const unsigned char* from = &bytes_[i * width()];
    double exact = 0;
    float narrow = 0;
    if (type_ == DCNV3_F64) {
      std::memcpy(&exact, from, sizeof exact);
      return exact;
    }
    if (type_ == DCNV3_F32) {
      std::memcpy(&narrow, from, sizeof narrow);
      return narrow;
    }
    const std::uint32_t bits = static_cast<std::uint32_t>(from[0] | from[1] << 8) << 16;
    std::memcpy(&narrow, &bits, sizeof narrow);
    return narrow;
  }

  int type_;
  std::size_t count_;
  std::vector<unsigned char> bytes_;
};

inline Values rounded(const Values& values, int type) { return Numbers(values, type).values(); }

// Calls visit(pixel, weight, slope of the weight along x, along y) for those of the four pixels around a position that
// lie in the map. At pixel centres, the slope is that to the right.
template <typename F>
void each_corner(double x, double y, std::int64_t height, std::int64_t width, F visit) {
  if (!(x > -1 && y > -1 && x < static_cast<double>(width) && y < static_cast<double>(height))) return;
  for (int corner = 0; corner < 4; ++corner) {
    const double column = std::floor(x) + corner % 2, row = std::floor(y) + corner / 2;
    if (column < 0 || row < 0 || column >= static_cast<double>(width) || row >= static_cast<double>(height)) continue;
    const double across = 1 - std::fabs(x - column), down = 1 - std::fabs(y - row);
    visit(static_cast<std::int64_t>(row) * width + static_cast<std::int64_t>(column), across * down,
          (corner % 2 ? 1 : -1) * down, (corner / 2 ? 1 : -1) * across);
  }
}

// Where slopes jump, rounding chooses the side: whether a position is too close to a pixel's centre to compare them.
inline bool slopes_jump(double x, double y, bool single) {
  const double room = single ? 1e-3 : 1e-9;
  return !(std::fabs(x - std::nearbyint(x)) > room && std::fabs(y - std::nearbyint(y)) > room) && std::isfinite(x) &&
         std::isfinite(y);
}

// Softmax of `count` logits, in place.
inline void softmax(double* logits, int count) {
  double most = logits[0], total = 0;
  for (int k = 0; k < count; ++k) most = std::max(most, logits[k]);
  for (int k = 0; k < count; ++k) total += logits[k] = std::exp(logits[k] - most);
  for (int k = 0; k < count; ++k) logits[k] /= total;
}

// Turns gradients of `count` shares into those of their logits.
inline void softmax_backward(const double* shares, double* gradients, int count) {
  double mean = 0;
  for (int k = 0; k < count; ++k) mean += shares[k] * gradients[k];
  for (int k = 0; k < count; ++k) gradients[k] = shares[k] * (gradients[k] - mean);
}

// Compares in units of the largest number, by what the arithmetic (single or double) and the result's type keep. Where
// `open` is given and set, anything goes.
inline void compare(const Numbers& found, const Values& wanted, bool single, const char* what, int round,
                    const std::vector<bool>* open = nullptr) {
  const Values values = found.values();
  double largest = 1;
  for (const double x : wanted)
    if (std::isfinite(x)) largest = std::max(largest, std::fabs(x));
  const double share = found.type() == DCNV3_BF16 ? 1e-2 : (single || found.type() == DCNV3_F32 ? 1e-4 : 1e-9);
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    if (open != nullptr && (*open)[i]) continue;
    if (std::isnan(wanted[i]) ? std::isnan(values[i]) : std::fabs(values[i] - wanted[i]) <= share * largest) continue;
    std::printf("[%zu] is %g instead of %g: ", i, values[i], wanted[i]);
    return check(false, what, round);
  }
}

// Runs the rounds of a program and returns its exit status. The first argument says how many.
inline int run(int argc, char** argv, int rounds, void (*one)(Random&, int)) {
  if (argc > 1) rounds = std::atoi(argv[1]);
  Random random;
  for (int round = 0; round < rounds; ++round) one(random, round);
  std::printf("%d rounds with %s instructions, %d failures\n", rounds, dcnv3_cpu_instructions(), failures);
  return failures ? 1 : 0;
}

// Numbers of threads every call is tried with; results are the same bits for all.
constexpr int kThreads[] = {1, 2, 8};

}  // namespace test
