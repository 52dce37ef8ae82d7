// The C interface of multi-scale deformable attention on a CUDA device: checks, then the kernels of the value's type.
#include "checks.h"
#include "msda_call.h"

namespace dcnv3 {
namespace cuda {
namespace msda {
namespace {

// Numbers of a pixel, and samples of a unit: with these, positions within a tile are whole numbers of 32 bits.
constexpr std::int64_t kMostNumbers = 1 << 24, kMostPoints = 1 << 20;

// Whether every level lies inside the pixels of an image.
int check_levels(const dcnv3_msda_params& p) {
  if (p.pixels > kMostPixels || p.levels > DCNV3_MSDA_CUDA_MAX_LEVELS ||
      std::int64_t{p.levels} * p.points > kMostPoints || std::int64_t{p.heads} * p.channels > kMostNumbers)
    return DCNV3_UNSUPPORTED;
  for (int l = 0; l < p.levels; ++l) {
    const std::int64_t height = p.shapes[2 * l], width = p.shapes[2 * l + 1], start = p.starts[l];
    if (height < 1 || width < 1 || start < 0 || start > p.pixels || height > p.pixels || width > p.pixels ||
        height * width > p.pixels - start)
      return DCNV3_BAD_ARGUMENT;
    if (height > kLongestSide || width > kLongestSide) return DCNV3_UNSUPPORTED;
  }
  return DCNV3_OK;
}

Geometry geometry_of(const dcnv3_msda_params& p, const dcnv3_msda_tensors& tensors) {
  Geometry g{};
  g.value = tensors.value.data;
  g.location = tensors.location;
  g.weight = tensors.weight;
  g.queries = p.queries;
  g.units = p.batch * p.queries * p.heads;
  g.pixel = std::int64_t{p.heads} * p.channels;
  g.image = p.pixels * g.pixel;
  g.heads = p.heads;
  g.channels = p.channels;
  g.points = p.points;
  g.samples = p.levels * p.points;
  g.softmax = (p.flags & DCNV3_SOFTMAX_MASK) != 0;
  for (int l = 0; l < p.levels; ++l) {
    const std::int64_t height = p.shapes[2 * l], width = p.shapes[2 * l + 1];
    g.level[l] = {static_cast<int>(p.starts[l]), static_cast<int>(width), static_cast<int>(height)};
  }
  return g;
}

// Fills `call` from the arguments, or says what is wrong with them.
int prepare(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors, Call& call) {
  if (params == nullptr || tensors == nullptr || params->struct_size != sizeof(dcnv3_msda_params))
    return DCNV3_BAD_ARGUMENT;
  const dcnv3_msda_params& p = *params;
  if (p.batch < 0 || p.pixels < 1 || p.queries < 0 || p.heads < 1 || p.channels < 1 || p.levels < 1 || p.points < 1 ||
      p.threads < 0 || p.shapes == nullptr || p.starts == nullptr)
    return DCNV3_BAD_ARGUMENT;
  const int status = check_levels(p);
  if (status != DCNV3_OK) return status;
  if (!fits({p.batch, p.pixels, p.heads, p.channels}) || !fits({p.batch, p.queries, p.heads, p.channels}) ||
      !fits({p.batch, p.queries, p.heads, p.levels, p.points, 2}))
    return DCNV3_UNSUPPORTED;
  for (const auto* array : {&tensors->value, &tensors->location, &tensors->weight})
    if (!is_known(array->type)) return DCNV3_UNSUPPORTED;
  call.g = geometry_of(p, *tensors);
  call.batch = p.batch;
  call.deterministic = (p.flags & DCNV3_DETERMINISTIC) != 0;
  return DCNV3_OK;
}

int take_arrays(const dcnv3_msda_tensors& tensors, const dcnv3_array& output, void* stream, Call& call) {
  if (output.type != tensors.value.type || (call.batch > 0 && tensors.value.data == nullptr)) return DCNV3_BAD_ARGUMENT;
  if (call.g.units > 0 &&
      (tensors.location.data == nullptr || tensors.weight.data == nullptr || output.data == nullptr))
    return DCNV3_BAD_ARGUMENT;
  call.output = output;
  call.stream = stream;
  call.aligned = is_aligned(tensors.value.data) && is_aligned(output.data);
  return DCNV3_OK;
}

int take_gradients(const dcnv3_msda_tensors& tensors, const dcnv3_msda_tensors* grad, Call& call) {
  if (grad == nullptr || !types_agree({{&grad->value, &tensors.value}, {&grad->location, &tensors.location},
                                       {&grad->weight, &tensors.weight}}))
    return DCNV3_BAD_ARGUMENT;
  call.gradients = *grad;
  return DCNV3_OK;
}

const Passes& passes_of(std::int32_t type) { return by_type(type, passes_f32, passes_f16, passes_bf16); }

}  // namespace
}  // namespace msda
}  // namespace cuda
}  // namespace dcnv3

extern "C" {

int dcnv3_msda_forward_cuda(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors, dcnv3_array output,
                            void* stream) {
  namespace msda = dcnv3::cuda::msda;
  msda::Call call{};
  int status = msda::prepare(params, tensors, call);
  if (status == DCNV3_OK) status = msda::take_arrays(*tensors, output, stream, call);
  if (status != DCNV3_OK || call.g.units == 0) return status;
  return msda::passes_of(output.type).forward(call);
}

int dcnv3_msda_backward_cuda_workspace(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors,
                                       const dcnv3_msda_tensors* grad, uint64_t* bytes) {
  namespace msda = dcnv3::cuda::msda;
  msda::Call call{};
  int status = msda::prepare(params, tensors, call);
  if (status == DCNV3_OK) status = msda::take_gradients(*tensors, grad, call);
  if (status == DCNV3_OK && bytes == nullptr) status = DCNV3_BAD_ARGUMENT;
  if (status == DCNV3_OK) *bytes = msda::workspace_of(call).bytes();
  return status;
}

int dcnv3_msda_backward_cuda(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors,
                             dcnv3_array grad_output, const dcnv3_msda_tensors* grad, void* workspace,
                             uint64_t workspace_bytes, void* stream) {
  namespace msda = dcnv3::cuda::msda;
  msda::Call call{};
  int status = msda::prepare(params, tensors, call);
  if (status == DCNV3_OK) status = msda::take_arrays(*tensors, grad_output, stream, call);
  if (status == DCNV3_OK) status = msda::take_gradients(*tensors, grad, call);
  if (status != DCNV3_OK || call.batch == 0) return status;
  status = dcnv3::cuda::check_workspace(msda::workspace_of(call).bytes(), workspace, workspace_bytes);
  if (status != DCNV3_OK) return status;
  call.workspace = workspace;
  return msda::passes_of(grad_output.type).backward(call);
}

}  // extern "C"
