/* C interface of RoIAlign on a CUDA device; see roi_align.h for the struct, layouts and defined results.
 *
 * Arrays, boxes and workspace lie in memory of the current device. The work is put into `stream` (a cudaStream_t; NULL:
 * the default stream) and is not waited for. Input and output are F32, F16 or BF16, alike; averages are summed in
 * float32. Positions are computed in float64, as on the CPU, to the last bit. Any number of boxes and channels.
 * DCNV3_UNSUPPORTED: F64, more than 2^30 bins in a box, an axis of 2^31 products of pixels and bins.
 *
 * A box's image is not known before the kernels run: one whose number is no whole one of 0 to batch - 1 has the result
 * NaN and adds nothing to the gradient. A pixel that has no weight in a bin counts in no way, even if it is not finite.
 *
 * Source: He et al., "Mask R-CNN", ICCV 2017; half-pixel alignment as in Detectron2.
 */
#ifndef DCNV3_ROI_ALIGN_CUDA_H_
#define DCNV3_ROI_ALIGN_CUDA_H_

#include "dcnv3/roi_align.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Writes how many bytes of workspace, aligned to 16, the forward pass with these arguments needs. */
DCNV3_EXPORT int dcnv3_roi_align_forward_cuda_workspace(const dcnv3_roi_align_params* params, uint64_t* bytes);

/* Forward pass. `threads` of the parameters is not used. */
DCNV3_EXPORT int dcnv3_roi_align_forward_cuda(const dcnv3_roi_align_params* params, dcnv3_array input,
                                              const double* boxes, dcnv3_array output, void* workspace,
                                              uint64_t workspace_bytes, void* stream);

/* Writes how many bytes of workspace, aligned to 16, the backward pass with these arguments needs. */
DCNV3_EXPORT int dcnv3_roi_align_backward_cuda_workspace(const dcnv3_roi_align_params* params, dcnv3_array grad_input,
                                                         uint64_t* bytes);

/* Backward pass: overwrites `grad_input`, of the type of `grad_output`. It is summed by atomics in float32, in an order
 * that changes from run to run; with DCNV3_DETERMINISTIC among the flags in 64-bit fixed point, where the order makes
 * no difference: the same bits in every run and on every device, rounded to 2^-(62 - n) of the largest gradient, n the
 * bits of boxes * out_height * out_width. */
DCNV3_EXPORT int dcnv3_roi_align_backward_cuda(const dcnv3_roi_align_params* params, dcnv3_array grad_output,
                                               const double* boxes, dcnv3_array grad_input, void* workspace,
                                               uint64_t workspace_bytes, void* stream);

#ifdef __cplusplus
}
#endif

#endif /* DCNV3_ROI_ALIGN_CUDA_H_ */
