/* C interface of the deformable operators of InternImage: DCNv3, forward and backward.
 *
 * Plain structs and numbers, so that PyTorch (ctypes), TensorRT and ONNX Runtime use the same library without
 * being built against each other. No function throws, allocates output, or keeps a pointer after it returns.
 *
 * Layouts (channels last, contiguous):
 *   input   [batch, height, width, group * group_channels]
 *   offset  [batch, out_height, out_width, group, points, 2]   last axis (x, y), in pixels
 *   mask    [batch, out_height, out_width, group, points]
 *   gate    [batch, out_height, out_width, group]              optional
 *   output  [batch, out_height, out_width, group * group_channels]
 * The points of a kernel are counted down its columns: point = column * kernel_h + row.
 *
 * Defined results: a sample one pixel or more outside the map, or at infinity, counts as 0 and has gradients 0. A
 * position, value, mask or gradient that is not a number makes what depends on it not a number; nothing outside the
 * arrays is ever read or written.
 *
 * Source: Wang et al., "InternImage", CVPR 2023.
 */
#ifndef DCNV3_DCNV3_H_
#define DCNV3_DCNV3_H_

#include <stdint.h>

#if defined(_WIN32)
#define DCNV3_EXPORT __declspec(dllexport)
#else
#define DCNV3_EXPORT __attribute__((visibility("default")))
#endif

#ifdef __cplusplus
extern "C" {
#endif

/* Changes whenever a struct or the meaning of an argument does. */
#define DCNV3_ABI_VERSION 1u

typedef enum dcnv3_status {
  DCNV3_OK = 0,
  DCNV3_BAD_ARGUMENT = 1,  /* a size, a pointer or a flag makes no sense */
  DCNV3_UNSUPPORTED = 2,   /* sensible, but not built in: a type, too large a map or kernel */
  DCNV3_OUT_OF_MEMORY = 3, /* no room for a small work area */
  DCNV3_DEVICE_ERROR = 4   /* the GPU refused the launch */
} dcnv3_status;

typedef enum dcnv3_type { DCNV3_F32 = 0, DCNV3_F64 = 1, DCNV3_F16 = 2, DCNV3_BF16 = 3 } dcnv3_type;

typedef enum dcnv3_flags {
  DCNV3_REMOVE_CENTER = 1, /* the grid lacks its central point; odd kernels only */
  DCNV3_SOFTMAX_MASK = 2,  /* `mask` holds logits; softmax over the points is part of the operator */
  DCNV3_DETERMINISTIC = 4  /* GPU: the same gradients in every run, slower; the CPU always is */
} dcnv3_flags;

/* One call. Sizes of zero in `batch` are allowed and do nothing. */
typedef struct dcnv3_params {
  uint32_t struct_size; /* sizeof(dcnv3_params) of the caller */
  uint32_t flags;       /* of dcnv3_flags */
  int64_t batch;
  int64_t height, width;         /* of the input map */
  int64_t out_height, out_width; /* must be what dcnv3_output_size says */
  int32_t group, group_channels;
  int32_t kernel_h, kernel_w;
  int32_t stride_h, stride_w;
  int32_t pad_h, pad_w;
  int32_t dilation_h, dilation_w;
  int32_t threads; /* CPU: at most so many; 0: as many as OpenMP gives */
  int32_t reserved;
  double offset_scale; /* factor on the kernel's grid and on the offsets */
} dcnv3_params;

/* Contiguous numbers of one type; `data` NULL where the array is optional and not there. */
typedef struct dcnv3_array {
  void* data;
  int32_t type; /* of dcnv3_type */
  int32_t reserved;
} dcnv3_array;

/* Arrays of a call. `offset` and `mask` may have types of their own. With `gate`, in (0, 1), the result is
 * blended with the input at the output's pixel: output * (1 - gate) + input * gate (stride 1, same size). */
typedef struct dcnv3_tensors {
  dcnv3_array input, offset, mask, gate;
} dcnv3_tensors;

/* Returns DCNV3_ABI_VERSION of the library. */
DCNV3_EXPORT uint32_t dcnv3_abi_version(void);

/* Returns a sentence for a status. */
DCNV3_EXPORT const char* dcnv3_status_text(int status);

/* Writes the size of the output map; DCNV3_BAD_ARGUMENT where there is none. `out_*` of `params` are not read. */
DCNV3_EXPORT int dcnv3_output_size(const dcnv3_params* params, int64_t* out_height, int64_t* out_width);

/* Returns the instruction set the CPU kernels run with here: "avx512", "avx2", "neon" or "generic". */
DCNV3_EXPORT const char* dcnv3_cpu_instructions(void);

/* Forward pass. Types of input and output: F32, F64 or BF16, alike; the others: F32, F64 or BF16 each.
 * DCNV3_UNSUPPORTED: another type; a map of 2^31 pixels; with F32 or BF16 input one of more than 2^24 rows or columns,
 * whose positions float32 does not hold; a kernel of more than 4096 points, or whose side times dilation is 2^31. */
DCNV3_EXPORT int dcnv3_forward_cpu(const dcnv3_params* params, const dcnv3_tensors* tensors, dcnv3_array output);

/* Backward pass. `grad_output` and `grad` have the types of output and of the arrays they belong to. All four
 * results are overwritten; one whose data is NULL is not computed. With DCNV3_SOFTMAX_MASK, the mask's gradient
 * is that of the logits. */
DCNV3_EXPORT int dcnv3_backward_cpu(const dcnv3_params* params, const dcnv3_tensors* tensors,
                                    dcnv3_array grad_output, const dcnv3_tensors* grad);

#ifdef __cplusplus
}
#endif

#endif /* DCNV3_DCNV3_H_ */
