/* C interface of RoIAlign with averages, forward and backward; see dcnv3.h for types and statuses.
 *
 * Layouts (contiguous):
 *   input  [batch, channels, height, width]
 *   boxes  [boxes, 5]                                 image's number, x1, y1, x2, y2
 *   output [boxes, channels, out_height, out_width]
 * A box, times spatial_scale and with DCNV3_ROI_ALIGNED less half a pixel, is cut into out_height x out_width bins;
 * a bin is the mean of samples_y x samples_x bilinear samples in the middles of its equal parts. `samples` is
 * sampling_ratio, or, where that is 0, the bin's size in pixels rounded up. Without DCNV3_ROI_ALIGNED a box has a
 * size of at least one pixel. A sample up to one pixel outside the map takes the value of the border, further out 0.
 *
 * Defined results: a box with a coordinate that is not finite has the result NaN and adds nothing to the gradient. A
 * bin has at most 65536 samples per axis: beyond, where a bin is larger than any map, they lie more than a pixel
 * apart. A bin with a negative size has no samples, unless sampling_ratio says how many, and is 0.
 *
 * Source: He et al., "Mask R-CNN", ICCV 2017; half-pixel alignment as in Detectron2.
 */
#ifndef DCNV3_ROI_ALIGN_H_
#define DCNV3_ROI_ALIGN_H_

#include "dcnv3/dcnv3.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum dcnv3_roi_flags {
  DCNV3_ROI_ALIGNED = 1 /* coordinates count from the image's corner; pixel centres lie at halves */
} dcnv3_roi_flags;

/* One call. Sizes of zero in `batch` and `boxes` are allowed: no output, and gradients of zero. */
typedef struct dcnv3_roi_align_params {
  uint32_t struct_size; /* sizeof(dcnv3_roi_align_params) of the caller */
  uint32_t flags;       /* of dcnv3_roi_flags */
  int64_t batch, channels, height, width;
  int64_t boxes;
  int32_t out_height, out_width;
  int32_t sampling_ratio; /* 0: by the size of the bin */
  int32_t threads;        /* at most so many; 0: as many as OpenMP gives */
  double spatial_scale;   /* pixels of the map per unit of the boxes; above 0 */
} dcnv3_roi_align_params;

/* Forward pass. Types of input and output: F32, F64 or BF16, alike. DCNV3_BAD_ARGUMENT where an image's number is not
 * a whole one of 0 to batch - 1. */
DCNV3_EXPORT int dcnv3_roi_align_forward_cpu(const dcnv3_roi_align_params* params, dcnv3_array input,
                                             const double* boxes, dcnv3_array output);

/* Backward pass: overwrites `grad_input`, of the type of `grad_output`. The same bits for any number of threads. */
DCNV3_EXPORT int dcnv3_roi_align_backward_cpu(const dcnv3_roi_align_params* params, dcnv3_array grad_output,
                                              const double* boxes, dcnv3_array grad_input);

#ifdef __cplusplus
}
#endif

#endif /* DCNV3_ROI_ALIGN_H_ */
