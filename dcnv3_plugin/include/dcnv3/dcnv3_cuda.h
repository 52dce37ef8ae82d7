/* C interface of DCNv3 on a CUDA device; see dcnv3.h for structs, layouts and defined results.
 *
 * All arrays lie in memory of the current device. The work is put into `stream` (a cudaStream_t; NULL: the default
 * stream) and is not waited for. Input and output are F32, F16 or BF16, alike; offset, mask and gate F32, F16 or BF16
 * each. Positions, weights and sums are float32. Any batch, any alignment; 16 bytes at a time where the group's width
 * and the pointers allow it. DCNV3_UNSUPPORTED: F64, a map of 2^31 pixels or more than
 * 2^24 rows or columns, whose positions float32 does not hold, more than DCNV3_CUDA_MAX_POINTS points.
 *
 * Source: Wang et al., "InternImage", CVPR 2023.
 */
#ifndef DCNV3_DCNV3_CUDA_H_
#define DCNV3_DCNV3_CUDA_H_

#include "dcnv3/dcnv3.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DCNV3_CUDA_MAX_POINTS 1200

/* Returns DCNV3_ABI_VERSION of the library. */
DCNV3_EXPORT uint32_t dcnv3_cuda_abi_version(void);

/* Returns a sentence for a status; for DCNV3_DEVICE_ERROR what CUDA said to the calling thread last. */
DCNV3_EXPORT const char* dcnv3_cuda_status_text(int status);

/* Forward pass. */
DCNV3_EXPORT int dcnv3_forward_cuda(const dcnv3_params* params, const dcnv3_tensors* tensors, dcnv3_array output,
                                    void* stream);

/* Writes how many bytes of workspace, aligned to 16, the backward pass with these arguments needs; 0 is common. */
DCNV3_EXPORT int dcnv3_backward_cuda_workspace(const dcnv3_params* params, const dcnv3_tensors* tensors,
                                               const dcnv3_tensors* grad, uint64_t* bytes);

/* Backward pass, arrays as in dcnv3_backward_cpu. Gradients of offset, mask and gate are summed in a fixed order. That
 * of the input is summed by atomics in float32, in an order that changes from run to run; with DCNV3_DETERMINISTIC in
 * 64-bit fixed point, where the order makes no difference: the same bits in every run and on every device, rounded
 * to 2^-(62 - n) of the largest product of gradient and mask, n the bits of points * out_height * out_width. */
DCNV3_EXPORT int dcnv3_backward_cuda(const dcnv3_params* params, const dcnv3_tensors* tensors, dcnv3_array grad_output,
                                     const dcnv3_tensors* grad, void* workspace, uint64_t workspace_bytes,
                                     void* stream);

#ifdef __cplusplus
}
#endif

#endif /* DCNV3_DCNV3_CUDA_H_ */
