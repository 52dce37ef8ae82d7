// What the checked entry points of the operators share. Compiled once, for the oldest machine.
#pragma once

#include <cstdint>
#include <cstring>
#include <initializer_list>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "dcnv3/dcnv3.h"

namespace dcnv3 {

// The table of kernels for the instruction set that all operators run with here.
template <typename Table>
const Table& choose(const Table& generic, const Table& avx2, const Table& avx512) {
  const char* name = dcnv3_cpu_instructions();
  if (std::strcmp(name, "avx512") == 0) return avx512;
  return std::strcmp(name, "avx2") == 0 ? avx2 : generic;
}

// Up to here every whole number is exact in float32: the most rows or columns of a map whose positions are float32.
constexpr std::int64_t kLongestSide = 1 << 24;

inline bool is_known(std::int32_t type) { return type == DCNV3_F32 || type == DCNV3_F64 || type == DCNV3_BF16; }

// Whether each gradient that is wanted has the type of the array it belongs to.
struct Pair {
  const dcnv3_array *gradient, *array;
};
inline bool types_agree(std::initializer_list<Pair> pairs) {
  for (const Pair& pair : pairs)
    if (pair.gradient->data != nullptr && pair.gradient->type != pair.array->type) return false;
  return true;
}

inline int thread_count(std::int32_t wanted) {
#if defined(_OPENMP)
  return wanted > 0 ? wanted : omp_get_max_threads();
#else
  return 1 + 0 * wanted;
#endif
}

}  // namespace dcnv3
