// The C interface of the CUDA kernels: checks, then the kernels of the input's type.
#include <cmath>

#include "call.h"
#include "checks.h"

namespace dcnv3 {
namespace cuda {
namespace {

// Output size along one axis; below 1 where there is none.
std::int64_t output_size(std::int64_t size, std::int64_t pad, std::int64_t dilation, std::int64_t kernel,
                         std::int64_t stride) {
  if (size < 1 || pad < 0 || dilation < 1 || kernel < 1 || stride < 1) return 0;
  const std::int64_t room = size + 2 * pad - (dilation * (kernel - 1) + 1);
  return room < 0 ? 0 : room / stride + 1;
}

int check(const dcnv3_params& p, const dcnv3_tensors& tensors) {
  const std::int64_t out_height = output_size(p.height, p.pad_h, p.dilation_h, p.kernel_h, p.stride_h);
  const std::int64_t out_width = output_size(p.width, p.pad_w, p.dilation_w, p.kernel_w, p.stride_w);
  if (out_height < 1 || out_width < 1 || p.out_height != out_height || p.out_width != out_width || p.batch < 0 ||
      p.group < 1 || p.group_channels < 1 || p.threads < 0 || !std::isfinite(p.offset_scale))
    return DCNV3_BAD_ARGUMENT;
  const std::int64_t taps = std::int64_t{p.kernel_h} * p.kernel_w;
  if ((p.flags & DCNV3_REMOVE_CENTER) != 0 && (taps % 2 == 0 || taps == 1)) return DCNV3_BAD_ARGUMENT;
  if (tensors.gate.data != nullptr && (p.height != out_height || p.width != out_width)) return DCNV3_BAD_ARGUMENT;
  // Positions are whole numbers of 32 bits inside one map; arrays may be larger.
  constexpr std::int64_t kMost = kMostPixels;
  if (taps > DCNV3_CUDA_MAX_POINTS || p.height > kLongestSide || p.width > kLongestSide ||
      p.height > kMost / p.width || out_height > kMost / out_width ||
      p.group_channels > kMost / p.group || std::int64_t{p.dilation_h} * p.kernel_h > kMost ||
      std::int64_t{p.dilation_w} * p.kernel_w > kMost)
    return DCNV3_UNSUPPORTED;
  for (const auto* array : {&tensors.input, &tensors.offset, &tensors.mask, &tensors.gate})
    if (array->data != nullptr && !is_known(array->type)) return DCNV3_UNSUPPORTED;
  return DCNV3_OK;
}

Geometry geometry_of(const dcnv3_params& p, const dcnv3_tensors& tensors) {
  Geometry g{};
  g.input = tensors.input.data;
  g.offset = tensors.offset;
  g.mask = tensors.mask;
  g.gate = tensors.gate;
  g.batch = p.batch;
  g.out_height = p.out_height;
  g.out_width = p.out_width;
  g.stride_h = p.stride_h;
  g.stride_w = p.stride_w;
  g.pad_h = p.pad_h;
  g.pad_w = p.pad_w;
  g.pixel = std::int64_t{p.group} * p.group_channels;
  g.right = p.width > 1 ? g.pixel : 0;
  g.down = p.height > 1 ? g.pixel * p.width : 0;
  g.map = field_of(static_cast<int>(p.width), static_cast<int>(p.height));
  g.group = p.group;
  g.channels = p.group_channels;
  g.kernel_h = p.kernel_h;
  g.dilation_h = p.dilation_h;
  g.dilation_w = p.dilation_w;
  g.center_y = static_cast<int>(std::int64_t{p.dilation_h} * (p.kernel_h - 1) / 2);
  g.center_x = static_cast<int>(std::int64_t{p.dilation_w} * (p.kernel_w - 1) / 2);
  const bool removes = (p.flags & DCNV3_REMOVE_CENTER) != 0;
  g.removed = removes ? p.kernel_h * p.kernel_w / 2 : -1;
  g.points = p.kernel_h * p.kernel_w - (removes ? 1 : 0);
  g.softmax = (p.flags & DCNV3_SOFTMAX_MASK) != 0;
  g.scale = static_cast<float>(p.offset_scale);
  return g;
}

// Fills `call` from the arguments, or says what is wrong with them.
int prepare(const dcnv3_params* params, const dcnv3_tensors* tensors, Call& call) {
  if (params == nullptr || tensors == nullptr || params->struct_size != sizeof(dcnv3_params)) return DCNV3_BAD_ARGUMENT;
  const int status = check(*params, *tensors);
  if (status != DCNV3_OK) return status;
  call.g = geometry_of(*params, *tensors);
  call.kernel_w = params->kernel_w;
  call.deterministic = (params->flags & DCNV3_DETERMINISTIC) != 0;
  return DCNV3_OK;
}

int take_arrays(const dcnv3_tensors& tensors, const dcnv3_array& output, void* stream, Call& call) {
  if (output.type != tensors.input.type) return DCNV3_BAD_ARGUMENT;
  if (call.g.batch > 0 && (tensors.input.data == nullptr || tensors.offset.data == nullptr ||
                           tensors.mask.data == nullptr || output.data == nullptr))
    return DCNV3_BAD_ARGUMENT;
  call.output = output;
  call.stream = stream;
  call.aligned = is_aligned(tensors.input.data) && is_aligned(output.data);
  return DCNV3_OK;
}

int take_gradients(const dcnv3_tensors& tensors, const dcnv3_tensors* grad, Call& call) {
  if (grad == nullptr || (grad->gate.data != nullptr && tensors.gate.data == nullptr)) return DCNV3_BAD_ARGUMENT;
  if (!types_agree({{&grad->input, &tensors.input}, {&grad->offset, &tensors.offset}, {&grad->mask, &tensors.mask},
                    {&grad->gate, &tensors.gate}}))
    return DCNV3_BAD_ARGUMENT;
  call.gradients = *grad;
  return DCNV3_OK;
}

const Passes& passes_of(std::int32_t type) { return by_type(type, passes_f32, passes_f16, passes_bf16); }

}  // namespace
}  // namespace cuda
}  // namespace dcnv3

extern "C" {

uint32_t dcnv3_cuda_abi_version(void) { return DCNV3_ABI_VERSION; }

const char* dcnv3_cuda_status_text(int status) {
  switch (status) {
    case DCNV3_OK: return "no error";
    case DCNV3_BAD_ARGUMENT: return "a size, a pointer or a flag makes no sense, or the sizes do not fit together";
    case DCNV3_UNSUPPORTED:
      return "not built in: a type other than float32, float16 and bfloat16, too many points or levels, or a map that "
             "is too large";
    case DCNV3_OUT_OF_MEMORY: return "the workspace is too small";
    case DCNV3_DEVICE_ERROR: return dcnv3::cuda::device_text();
    default: return "unknown status";
  }
}

int dcnv3_forward_cuda(const dcnv3_params* params, const dcnv3_tensors* tensors, dcnv3_array output, void* stream) {
  dcnv3::cuda::Call call{};
  int status = dcnv3::cuda::prepare(params, tensors, call);
  if (status == DCNV3_OK) status = dcnv3::cuda::take_arrays(*tensors, output, stream, call);
  if (status != DCNV3_OK || call.g.batch == 0) return status;
  return dcnv3::cuda::passes_of(output.type).forward(call);
}

int dcnv3_backward_cuda_workspace(const dcnv3_params* params, const dcnv3_tensors* tensors, const dcnv3_tensors* grad,
                                  uint64_t* bytes) {
  dcnv3::cuda::Call call{};
  int status = dcnv3::cuda::prepare(params, tensors, call);
  if (status == DCNV3_OK) status = dcnv3::cuda::take_gradients(*tensors, grad, call);
  if (status == DCNV3_OK && bytes == nullptr) status = DCNV3_BAD_ARGUMENT;
  if (status == DCNV3_OK) *bytes = dcnv3::cuda::workspace_of(call).bytes();
  return status;
}

int dcnv3_backward_cuda(const dcnv3_params* params, const dcnv3_tensors* tensors, dcnv3_array grad_output,
                        const dcnv3_tensors* grad, void* workspace, uint64_t workspace_bytes, void* stream) {
  dcnv3::cuda::Call call{};
  int status = dcnv3::cuda::prepare(params, tensors, call);
  if (status == DCNV3_OK) status = dcnv3::cuda::take_arrays(*tensors, grad_output, stream, call);
  if (status == DCNV3_OK) status = dcnv3::cuda::take_gradients(*tensors, grad, call);
  if (status != DCNV3_OK || call.g.batch == 0) return status;
  status = dcnv3::cuda::check_workspace(dcnv3::cuda::workspace_of(call).bytes(), workspace, workspace_bytes);
  if (status != DCNV3_OK) return status;
  call.workspace = workspace;
  return dcnv3::cuda::passes_of(grad_output.type).backward(call);
}

}  // extern "C"
