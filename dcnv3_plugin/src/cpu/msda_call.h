// Multi-scale deformable attention: what the checked entry points hand to the kernels of an instruction set.
#pragma once

#include <cstdint>

#include "dcnv3/msda.h"

namespace dcnv3 {

struct MsdaCall {
  dcnv3_msda_params p;
  int samples;  // of one query and head: levels * points
  bool softmax;
  dcnv3_msda_tensors in;
  dcnv3_array output;            // of the forward pass, or its gradient in the backward pass
  dcnv3_msda_tensors gradients;  // of the backward pass
  int threads;
};

struct MsdaKernels {
  int (*forward)(const MsdaCall&);
  int (*backward)(const MsdaCall&);
};

namespace isa_generic {
extern const MsdaKernels msda_kernels;
}
#if defined(DCNV3_HAS_X86_CLONES)
namespace isa_avx2 {
extern const MsdaKernels msda_kernels;
}
namespace isa_avx512 {
extern const MsdaKernels msda_kernels;
}
#endif

}  // namespace dcnv3
