// The C interface of RoIAlign on the CPU: checks, then the kernels of this machine.
#include <cmath>

#include "dispatch.h"
#include "roi_align_call.h"

namespace dcnv3 {
namespace {

const RoiAlignKernels& kernels() {
#if defined(DCNV3_HAS_X86_CLONES)
  static const RoiAlignKernels& chosen =
      choose(isa_generic::roi_align_kernels, isa_avx2::roi_align_kernels, isa_avx512::roi_align_kernels);
  return chosen;
#else
  return isa_generic::roi_align_kernels;
#endif
}

// Whether the first number of every box is that of an image.
bool images_exist(const dcnv3_roi_align_params& p, const double* boxes) {
  for (std::int64_t k = 0; k < p.boxes; ++k) {
    const double image = boxes[5 * k];
    if (!(image >= 0 && image < static_cast<double>(p.batch) && image == std::floor(image))) return false;
  }
  return true;
}

// Fills `call` from the arguments, or says what is wrong with them.
int prepare(const dcnv3_roi_align_params* params, const dcnv3_array& map, const double* boxes,
            const dcnv3_array& output, RoiAlignCall& call) {
  if (params == nullptr || params->struct_size != sizeof(dcnv3_roi_align_params)) return DCNV3_BAD_ARGUMENT;
  const dcnv3_roi_align_params& p = *params;
  if (p.batch < 0 || p.channels < 1 || p.height < 1 || p.width < 1 || p.boxes < 0 || p.out_height < 1 ||
      p.out_width < 1 || p.sampling_ratio < 0 || p.threads < 0 || !std::isfinite(p.spatial_scale) ||
      p.spatial_scale <= 0)
    return DCNV3_BAD_ARGUMENT;
  constexpr std::int64_t most = 0x7fffffff;
  if (p.height > most / p.out_height || p.width > most / p.out_width) return DCNV3_UNSUPPORTED;
  if (!is_known(map.type)) return DCNV3_UNSUPPORTED;
  if (output.type != map.type || (p.batch > 0 && map.data == nullptr) ||
      (p.boxes > 0 && (boxes == nullptr || output.data == nullptr)) || !images_exist(p, boxes))
    return DCNV3_BAD_ARGUMENT;
  call.p = p;
  call.map = map;
  call.boxes = boxes;
  call.output = output;
  call.threads = thread_count(p.threads);
  return DCNV3_OK;
}

}  // namespace
}  // namespace dcnv3

extern "C" {

int dcnv3_roi_align_forward_cpu(const dcnv3_roi_align_params* params, dcnv3_array input, const double* boxes,
                                dcnv3_array output) {
  dcnv3::RoiAlignCall call{};
  const int status = dcnv3::prepare(params, input, boxes, output, call);
  if (status != DCNV3_OK || call.p.boxes == 0) return status;
  return dcnv3::kernels().forward(call);
}

int dcnv3_roi_align_backward_cpu(const dcnv3_roi_align_params* params, dcnv3_array grad_output, const double* boxes,
                                 dcnv3_array grad_input) {
  dcnv3::RoiAlignCall call{};
  const int status = dcnv3::prepare(params, grad_input, boxes, grad_output, call);
  if (status != DCNV3_OK || call.p.batch == 0) return status;
  return dcnv3::kernels().backward(call);
}

}  // extern "C"
