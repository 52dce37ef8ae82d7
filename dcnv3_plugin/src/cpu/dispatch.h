// What the checked entry points of the operators share. Compiled once, for the oldest machine.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(_OPENMP)
#include <omp.h>
#endif

#include "../shared/checks.h"
#include "dcnv3/dcnv3.h"

namespace dcnv3 {

// The table of kernels for the instruction set that all operators run with here.
template <typename Table>
const Table& choose(const Table& generic, const Table& avx2, const Table& avx512) {
  const char* name = dcnv3_cpu_instructions();
  if (std::strcmp(name, "avx512") == 0) return avx512;
  return std::strcmp(name, "avx2") == 0 ? avx2 : generic;
}

inline bool is_known(std::int32_t type) { return type == DCNV3_F32 || type == DCNV3_F64 || type == DCNV3_BF16; }

inline int thread_count(std::int32_t wanted) {
#if defined(_OPENMP)
  return wanted > 0 ? wanted : omp_get_max_threads();
#else
  return 1 + 0 * wanted;
#endif
}

}  // namespace dcnv3
