// The C interface of multi-scale deformable attention on the CPU: checks, then the kernels of this machine.
#include "dispatch.h"
#include "msda_call.h"

namespace dcnv3 {
namespace {

const MsdaKernels& kernels() {
#if defined(DCNV3_HAS_X86_CLONES)
  static const MsdaKernels& chosen =
      choose(isa_generic::msda_kernels, isa_avx2::msda_kernels, isa_avx512::msda_kernels);
  return chosen;
#else
  return isa_generic::msda_kernels;
#endif
}

// Positions are whole numbers of 32 bits inside one image, and sizes must be exact in float; arrays may be larger.
constexpr std::int64_t kMostPixels = 0x7fffffff;

// Whether every level lies inside the pixels of an image.
int check_levels(const dcnv3_msda_params& p) {
  if (p.pixels > kMostPixels || std::int64_t{p.levels} * p.points > (1 << 20)) return DCNV3_UNSUPPORTED;
  for (int l = 0; l < p.levels; ++l) {
    const std::int64_t height = p.shapes[2 * l], width = p.shapes[2 * l + 1], start = p.starts[l];
    if (height < 1 || width < 1 || start < 0 || start > p.pixels || height > p.pixels || width > p.pixels ||
        height * width > p.pixels - start)
      return DCNV3_BAD_ARGUMENT;
    if (height > kLongestSide || width > kLongestSide) return DCNV3_UNSUPPORTED;
  }
  return DCNV3_OK;
}

// Fills `call` from the arguments, or says what is wrong with them.
int prepare(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors, const dcnv3_array& output,
            MsdaCall& call) {
  if (params == nullptr || tensors == nullptr || params->struct_size != sizeof(dcnv3_msda_params))
    return DCNV3_BAD_ARGUMENT;
  const dcnv3_msda_params& p = *params;
  if (p.batch < 0 || p.pixels < 1 || p.queries < 0 || p.heads < 1 || p.channels < 1 || p.levels < 1 || p.points < 1 ||
      p.threads < 0 || p.shapes == nullptr || p.starts == nullptr)
    return DCNV3_BAD_ARGUMENT;
  const int levels = check_levels(p);
  if (levels != DCNV3_OK) return levels;
  for (const auto* array : {&tensors->value, &tensors->location, &tensors->weight})
    if (!is_known(array->type)) return DCNV3_UNSUPPORTED;
  if (output.type != tensors->value.type) return DCNV3_BAD_ARGUMENT;
  if (p.batch > 0 && tensors->value.data == nullptr) return DCNV3_BAD_ARGUMENT;
  if (p.batch > 0 && p.queries > 0 &&
      (tensors->location.data == nullptr || tensors->weight.data == nullptr || output.data == nullptr))
    return DCNV3_BAD_ARGUMENT;
  call.p = p;
  call.samples = p.levels * p.points;
  call.softmax = (p.flags & DCNV3_SOFTMAX_MASK) != 0;
  call.in = *tensors;
  call.output = output;
  call.threads = thread_count(p.threads);
  return DCNV3_OK;
}

}  // namespace
}  // namespace dcnv3

extern "C" {

int dcnv3_msda_forward_cpu(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors, dcnv3_array output) {
  dcnv3::MsdaCall call{};
  const int status = dcnv3::prepare(params, tensors, output, call);
  if (status != DCNV3_OK || call.p.batch == 0 || call.p.queries == 0) return status;
  return dcnv3::kernels().forward(call);
}

int dcnv3_msda_backward_cpu(const dcnv3_msda_params* params, const dcnv3_msda_tensors* tensors,
                            dcnv3_array grad_output, const dcnv3_msda_tensors* grad) {
  dcnv3::MsdaCall call{};
  const int status = dcnv3::prepare(params, tensors, grad_output, call);
  if (status != DCNV3_OK) return status;
  if (grad == nullptr) return DCNV3_BAD_ARGUMENT;
  if (!dcnv3::types_agree({{&grad->value, &tensors->value}, {&grad->location, &tensors->location},
                           {&grad->weight, &tensors->weight}}))
    return DCNV3_BAD_ARGUMENT;
  if (call.p.batch == 0) return DCNV3_OK;
  call.gradients = *grad;
  return dcnv3::kernels().backward(call);
}

}  // extern "C"
