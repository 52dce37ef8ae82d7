// What the C interfaces of all operators check alike, on CPUs and on GPUs.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "dcnv3/dcnv3.h"

namespace dcnv3 {

// Up to here every whole number is exact in float32: the most rows or columns of a map whose positions are float32.
constexpr std::int64_t kLongestSide = 1 << 24;

// Whether each gradient that is wanted has the type of the array it belongs to.
struct Pair {
  const dcnv3_array *gradient, *array;
};
inline bool types_agree(std::initializer_list<Pair> pairs) {
  for (const Pair& pair : pairs)
    if (pair.gradient->data != nullptr && pair.gradient->type != pair.array->type) return false;
  return true;
}

}  // namespace dcnv3
