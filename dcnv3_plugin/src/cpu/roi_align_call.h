// RoIAlign: what the checked entry points hand to the kernels of an instruction set, and where a box samples.
#pragma once

#include <cstdint>

#include "dcnv3/roi_align.h"

namespace dcnv3 {

struct RoiAlignCall {
  dcnv3_roi_align_params p;
  dcnv3_array map;     // input, or its gradient in the backward pass
  const double* boxes;
  dcnv3_array output;  // of the forward pass, or its gradient in the backward pass
  int threads;
};

struct RoiAlignKernels {
  int (*forward)(const RoiAlignCall&);
  int (*backward)(const RoiAlignCall&);
};

// A run of pixels of one axis: those that a bin depends on.
struct RoiSpan {
  std::int64_t first, end;
};

// One axis of a box: bins cut `length` pixels of the map.
struct RoiAxis {
  int bins;
  std::int64_t length;
};

// The average of bilinear samples over a rectangle is a product of averages along rows and columns: these are the
// pixels of one axis, `axis` 0 for x and 1 for y, and their weights in each bin, [bins, length], of which only those
// inside the bin's span are written. False, and nothing written, where the box is not finite.
bool roi_align_axis(const dcnv3_roi_align_params& params, const double* box, int axis, const RoiAxis& size,
                    RoiSpan* spans, double* weights);

namespace isa_generic {
extern const RoiAlignKernels roi_align_kernels;
}
#if defined(DCNV3_HAS_X86_CLONES)
namespace isa_avx2 {
extern const RoiAlignKernels roi_align_kernels;
}
namespace isa_avx512 {
extern const RoiAlignKernels roi_align_kernels;
}
#endif

}  // namespace dcnv3
