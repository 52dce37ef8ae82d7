/* C interface of multi-scale deformable attention, forward and backward; see dcnv3.h for types and statuses.
 *
 * Layouts (contiguous):
 *   value    [batch, pixels, heads, channels]                 pixels: those of all levels, row by row
 *   location [batch, queries, heads, levels, points, 2]       last axis (x, y), 0 to 1 from border to border
 *   weight   [batch, queries, heads, levels, points]
 *   output   [batch, queries, heads, channels]
 * Level l lies in pixels starts[l] to starts[l] + shapes[l][0] * shapes[l][1]. A location is the position
 * location * size - 0.5 in pixels, where integers are pixel centres; between them, values are interpolated.
 *
 * Defined results: a sample one pixel or more outside its level, or at infinity, has interpolation weights 0 and
 * gradients 0. A location, weight or gradient that is not a number makes what depends on it not a number, and so
 * does a value that is not finite, where it is one of the four pixels around a sample, or the border's pixels nearest
 * to a sample outside. Nothing outside the arrays is ever read or written.
 *
 * Source: Zhu et al., "Deformable DETR", ICLR 2021.
 */
#ifndef DCNV3_MSDA_H_
#define DCNV3_MSDA_H_

#include "dcnv3/dcnv3.h"

#ifdef __cplusplus
extern "C" {
#endif

/* One call. Sizes of zero in `batch` and `queries` are allowed: no output, and gradients of zero. `flags` may hold
 * DCNV3_SOFTMAX_MASK: `weight` holds logits, whose softmax over a head's levels and points is part of the operator. */
typedef struct dcnv3_msda_params {
  uint32_t struct_size; /* sizeof(dcnv3_msda_params) of the caller */
  uint32_t flags;       /* of dcnv3_flags */
  int64_t batch, pixels, queries;
  int32_t heads, channels, levels, points;
  int32_t threads; /* at most so many; 0: as many as OpenMP gives */
  int32_t reserved;
  const int64_t* shapes; /* [levels, 2], (height, width), each at least 1 */
  const int64_t* starts; /* [levels] */
} dcnv3_msda_params;

/* Arrays of a call. `location` and `weight` may have types of their own. */
typedef struct dcnv3_msda_tensors {
  dcnv3_array value, location, weight;
} dcnv3_msda_tensors;

/* Forward pass. Types of value and output: F32, F64 or BF16, alike; the others: F32, F64 or BF16 each. */
DCNV3_EXPORT int dcnv3_msda_forward_cpu(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors,
                                        dcnv3_array output);

/* Backward pass. `grad_output` and `grad` have the types of output and of the arrays they belong to. All three
 * results are overwritten; one whose data is NULL is not computed. The same bits for any number of threads. */
DCNV3_EXPORT int dcnv3_msda_backward_cpu(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors,
                                         dcnv3_array grad_output, const dcnv3_msda_tensors* grad);

#ifdef __cplusplus
}
#endif

#endif /* DCNV3_MSDA_H_ */
