// What the checked entry points hand to the kernels, and the table of kernels of one instruction set.
#pragma once

#include <cstdint>

#include "dcnv3/dcnv3.h"

namespace dcnv3 {

struct Call {
  dcnv3_params p;
  int points;
  dcnv3_tensors in;
  dcnv3_array output;       // of the forward pass, or its gradient in the backward pass
  dcnv3_tensors gradients;  // of the backward pass
  int threads;
  bool removes_center, softmax;
};

struct Kernels {
  const char* name;
  int (*forward)(const Call&);
  int (*backward)(const Call&);
};

extern const Kernels kernels_generic;
#if defined(DCNV3_HAS_X86_CLONES)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif

}  // namespace dcnv3
