/* C interface of multi-scale deformable attention on a CUDA device; see msda.h for structs, layouts, defined results.
 *
 * Arrays lie in memory of the current device, `shapes` and `starts` of the parameters in the host's: those are read
 * before a call returns. The work is put into `stream` (a cudaStream_t; NULL: the default stream) and is not waited
 * for. Value and output are F32, F16 or BF16, alike; location and weight F32, F16 or BF16 each. Positions, weights and
 * sums are float32. Any number of queries, points and channels, any alignment; 16 bytes at a time where the channels
 * of a head and the pointers allow it. DCNV3_UNSUPPORTED: F64, 2^31 pixels in an image, a level of more than 2^24 rows
 * or columns, more than DCNV3_MSDA_CUDA_MAX_LEVELS levels or 2^20 samples, a pixel of more than 2^24 numbers.
 *
 * A pixel whose interpolation weight is 0 gets no gradient, not even one that is not a number.
 *
 * Source: Zhu et al., "Deformable DETR", ICLR 2021.
 */
#ifndef DCNV3_MSDA_CUDA_H_
#define DCNV3_MSDA_CUDA_H_

#include "dcnv3/msda.h"

#ifdef __cplusplus
extern "C" {
#endif

#define DCNV3_MSDA_CUDA_MAX_LEVELS 128

/* Forward pass. `threads` of the parameters is not used. */
DCNV3_EXPORT int dcnv3_msda_forward_cuda(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors,
                                         dcnv3_array output, void* stream);

/* Writes how many bytes of workspace, aligned to 16, the backward pass with these arguments needs; 0 is common. */
DCNV3_EXPORT int dcnv3_msda_backward_cuda_workspace(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors,
                                                    const dcnv3_msda_tensors* grad, uint64_t* bytes);

/* Backward pass, arrays as in dcnv3_msda_backward_cpu. Gradients of location and weight are summed in a fixed order.
 * That of the value is summed by atomics in float32, in an order that changes from run to run; with
 * DCNV3_DETERMINISTIC in 64-bit fixed point, where the order makes no difference: the same bits in every run and on
 * every device, rounded to 2^-(62 - n) of the largest product of gradient and weight, n the bits of queries * levels
 * * points. */
DCNV3_EXPORT int dcnv3_msda_backward_cuda(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors,
                                          dcnv3_array grad_output, const dcnv3_msda_tensors* grad, void* workspace,
                                          uint64_t workspace_bytes, void* stream);

#ifdef __cplusplus
}
#endif

#endif /* DCNV3_MSDA_CUDA_H_ */
