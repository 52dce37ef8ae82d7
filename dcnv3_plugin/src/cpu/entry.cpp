// The C interface of the CPU kernels: checks, then the kernels of the best instruction set of this machine.
#include <cmath>

#include "call.h"
#include "dispatch.h"

namespace dcnv3 {
namespace {

const Kernels& kernels() {
#if defined(DCNV3_HAS_X86_CLONES)
  static const Kernels& chosen = [] () -> const Kernels& {
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
        __builtin_cpu_supports("avx512dq"))
      return kernels_avx512;
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return kernels_avx2;
    return kernels_generic;
  }();
  return chosen;
#else
  return kernels_generic;
#endif
}

int output_size(const dcnv3_params& p, std::int64_t& out_height, std::int64_t& out_width) {
  if (p.height < 1 || p.width < 1 || p.kernel_h < 1 || p.kernel_w < 1 || p.stride_h < 1 || p.stride_w < 1 ||
      p.pad_h < 0 || p.pad_w < 0 || p.dilation_h < 1 || p.dilation_w < 1)
    return DCNV3_BAD_ARGUMENT;
  const std::int64_t room_h = p.height + 2 * std::int64_t{p.pad_h} - (std::int64_t{p.dilation_h} * (p.kernel_h - 1) + 1);
  const std::int64_t room_w = p.width + 2 * std::int64_t{p.pad_w} - (std::int64_t{p.dilation_w} * (p.kernel_w - 1) + 1);
  if (room_h < 0 || room_w < 0) return DCNV3_BAD_ARGUMENT;
  out_height = room_h / p.stride_h + 1;
  out_width = room_w / p.stride_w + 1;
  return DCNV3_OK;
}

// Fills `call` from the arguments, or says what is wrong with them.
int prepare(const dcnv3_params* params, const dcnv3_tensors* tensors, const dcnv3_array& output, Call& call) {
  if (params == nullptr || tensors == nullptr || params->struct_size != sizeof(dcnv3_params)) return DCNV3_BAD_ARGUMENT;
  const dcnv3_params& p = *params;
  std::int64_t out_height = 0, out_width = 0;
  const int status = output_size(p, out_height, out_width);
  if (status != DCNV3_OK) return status;
  if (p.batch < 0 || p.group < 1 || p.group_channels < 1 || p.threads < 0 || !std::isfinite(p.offset_scale) ||
      p.out_height != out_height || p.out_width != out_width)
    return DCNV3_BAD_ARGUMENT;
  const std::int64_t taps = std::int64_t{p.kernel_h} * p.kernel_w;
  const bool removes = (p.flags & DCNV3_REMOVE_CENTER) != 0;
  if (removes && (taps % 2 == 0 || taps == 1)) return DCNV3_BAD_ARGUMENT;
  if (tensors->gate.data != nullptr && (p.height != p.out_height || p.width != p.out_width)) return DCNV3_BAD_ARGUMENT;
  // Positions are whole numbers of 32 bits inside one map, and of the kernel's grid; arrays may be larger.
  constexpr std::int64_t most = 0x7fffffff;
  if (taps > 4096 || p.height > most / p.width || std::int64_t{p.dilation_h} * p.kernel_h > most ||
      std::int64_t{p.dilation_w} * p.kernel_w > most)
    return DCNV3_UNSUPPORTED;
  for (const auto* array : {&tensors->input, &tensors->offset, &tensors->mask, &tensors->gate})
    if (array->data != nullptr && !is_known(array->type)) return DCNV3_UNSUPPORTED;
  // Where positions are float32, sizes must be exact in it: rounded up, the last pixel would lie outside.
  if (tensors->input.type != DCNV3_F64 && (p.height > kLongestSide || p.width > kLongestSide)) return DCNV3_UNSUPPORTED;
  if (p.batch > 0 && (tensors->input.data == nullptr || tensors->offset.data == nullptr ||
                      tensors->mask.data == nullptr || output.data == nullptr))
    return DCNV3_BAD_ARGUMENT;
  if (output.type != tensors->input.type) return DCNV3_BAD_ARGUMENT;
  call.p = p;
  call.points = static_cast<int>(taps) - (removes ? 1 : 0);
  call.removes_center = removes;
  call.softmax = (p.flags & DCNV3_SOFTMAX_MASK) != 0;
  call.in = *tensors;
  call.output = output;
  call.threads = thread_count(p.threads);
  return DCNV3_OK;
}

}  // namespace
}  // namespace dcnv3

extern "C" {

uint32_t dcnv3_abi_version(void) { return DCNV3_ABI_VERSION; }

const char* dcnv3_status_text(int status) {
  switch (status) {
    case DCNV3_OK: return "no error";
    case DCNV3_BAD_ARGUMENT: return "a size, a pointer or a flag makes no sense, or the sizes do not fit together";
    case DCNV3_UNSUPPORTED:
      return "not built in: a type other than float32, float64 and bfloat16, or too large a map or kernel";
    case DCNV3_OUT_OF_MEMORY: return "no memory for a work area";
    case DCNV3_DEVICE_ERROR: return "the GPU refused the work";
    default: return "unknown status";
  }
}

int dcnv3_output_size(const dcnv3_params* params, int64_t* out_height, int64_t* out_width) {
  if (params == nullptr || out_height == nullptr || out_width == nullptr || params->struct_size != sizeof(dcnv3_params))
    return DCNV3_BAD_ARGUMENT;
  return dcnv3::output_size(*params, *out_height, *out_width);
}

const char* dcnv3_cpu_instructions(void) { return dcnv3::kernels().name; }

int dcnv3_forward_cpu(const dcnv3_params* params, const dcnv3_tensors* tensors, dcnv3_array output) {
  dcnv3::Call call{};
  const int status = dcnv3::prepare(params, tensors, output, call);
  if (status != DCNV3_OK || call.p.batch == 0) return status;
  return dcnv3::kernels().forward(call);
}

int dcnv3_backward_cpu(const dcnv3_params* params, const dcnv3_tensors* tensors, dcnv3_array grad_output,
                       const dcnv3_tensors* grad) {
  dcnv3::Call call{};
  const int status = dcnv3::prepare(params, tensors, grad_output, call);
  if (status != DCNV3_OK) return status;
  if (grad == nullptr) return DCNV3_BAD_ARGUMENT;
  if (!dcnv3::types_agree({{&grad->input, &tensors->input}, {&grad->offset, &tensors->offset},
                    {&grad->mask, &tensors->mask}, {&grad->gate, &tensors->gate}}))
    return DCNV3_BAD_ARGUMENT;
  if (call.p.batch == 0) return DCNV3_OK;
  call.gradients = *grad;
  return dcnv3::kernels().backward(call);
}

}  // extern "C"
