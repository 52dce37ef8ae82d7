// The C interface of RoIAlign on a CUDA device: checks, then the kernels of the map's type.
#include <cmath>

#include "checks.h"
#include "roi_align_call.h"

namespace dcnv3 {
namespace cuda {
namespace roi_align {
namespace {

constexpr std::int64_t kMostBins = 1 << 30;

// Fills the call's sizes from the parameters, or says what is wrong with them.
int prepare(const dcnv3_roi_align_params* params, Call& call) {
  if (params == nullptr || params->struct_size != sizeof(dcnv3_roi_align_params)) return DCNV3_BAD_ARGUMENT;
  const dcnv3_roi_align_params& p = *params;
  if (p.batch < 0 || p.channels < 1 || p.height < 1 || p.width < 1 || p.boxes < 0 || p.out_height < 1 ||
      p.out_width < 1 || p.sampling_ratio < 0 || p.threads < 0 || !std::isfinite(p.spatial_scale) ||
      p.spatial_scale <= 0)
    return DCNV3_BAD_ARGUMENT;
  // Numbers of pixels and bins of an axis, and of a box's bins, are of 32 bits.
  if (p.height > kMostPixels / p.out_height || p.width > kMostPixels / p.out_width ||
      p.out_height > kMostBins / p.out_width || !fits({p.batch, p.channels, p.height, p.width}) ||
      !fits({p.boxes, p.channels, p.out_height, p.out_width}) ||
      !fits({p.boxes, p.height + p.width + 5 * std::int64_t{p.out_height} + 5 * std::int64_t{p.out_width}}))
    return DCNV3_UNSUPPORTED;
  Geometry& g = call.g;
  g.count = p.boxes;
  g.batch = p.batch;
  g.channels = p.channels;
  g.rows = {p.out_height, static_cast<int>(p.height), 2};
  g.columns = {p.out_width, static_cast<int>(p.width), 1};
  g.scale = p.spatial_scale;
  g.ratio = p.sampling_ratio;
  g.aligned = (p.flags & DCNV3_ROI_ALIGNED) != 0;
  call.deterministic = (p.flags & DCNV3_DETERMINISTIC) != 0;
  return DCNV3_OK;
}

int take_arrays(const dcnv3_array& map, const double* boxes, const dcnv3_array& output, void* stream, Call& call) {
  if (!is_known(map.type)) return DCNV3_UNSUPPORTED;
  if (output.type != map.type || (call.g.batch > 0 && map.data == nullptr) ||
      (call.g.count > 0 && (boxes == nullptr || output.data == nullptr)))
    return DCNV3_BAD_ARGUMENT;
  call.g.boxes = boxes;
  call.map = map;
  call.output = output;
  call.stream = stream;
  return DCNV3_OK;
}

// The workspace of a pass, which needs sums or not.
std::uint64_t bytes_of(const Call& call, bool sums) {
  return call.g.count == 0 ? 0 : bytes_before_tables(call, sums) + bytes_of_tables(call.g);
}

const Passes& passes_of(std::int32_t type) { return by_type(type, passes_f32, passes_f16, passes_bf16); }

}  // namespace
}  // namespace roi_align
}  // namespace cuda
}  // namespace dcnv3

extern "C" {

int dcnv3_roi_align_forward_cuda_workspace(const dcnv3_roi_align_params* params, uint64_t* bytes) {
  namespace roi_align = dcnv3::cuda::roi_align;
  roi_align::Call call{};
  int status = roi_align::prepare(params, call);
  if (status == DCNV3_OK && bytes == nullptr) status = DCNV3_BAD_ARGUMENT;
  if (status == DCNV3_OK) *bytes = roi_align::bytes_of(call, false);
  return status;
}

int dcnv3_roi_align_forward_cuda(const dcnv3_roi_align_params* params, dcnv3_array input, const double* boxes,
                                 dcnv3_array output, void* workspace, uint64_t workspace_bytes, void* stream) {
  namespace roi_align = dcnv3::cuda::roi_align;
  roi_align::Call call{};
  int status = roi_align::prepare(params, call);
  if (status == DCNV3_OK) status = roi_align::take_arrays(input, boxes, output, stream, call);
  if (status != DCNV3_OK || call.g.count == 0) return status;
  status = dcnv3::cuda::check_workspace(roi_align::bytes_of(call, false), workspace, workspace_bytes);
  if (status != DCNV3_OK) return status;
  call.workspace = workspace;
  return roi_align::passes_of(input.type).forward(call);
}

int dcnv3_roi_align_backward_cuda_workspace(const dcnv3_roi_align_params* params, dcnv3_array grad_input,
                                            uint64_t* bytes) {
  namespace roi_align = dcnv3::cuda::roi_align;
  roi_align::Call call{};
  int status = roi_align::prepare(params, call);
  if (status == DCNV3_OK && !dcnv3::cuda::is_known(grad_input.type)) status = DCNV3_UNSUPPORTED;
  if (status == DCNV3_OK && bytes == nullptr) status = DCNV3_BAD_ARGUMENT;
  if (status != DCNV3_OK) return status;
  call.map = grad_input;
  *bytes = roi_align::bytes_of(call, true);
  return status;
}

int dcnv3_roi_align_backward_cuda(const dcnv3_roi_align_params* params, dcnv3_array grad_output, const double* boxes,
                                  dcnv3_array grad_input, void* workspace, uint64_t workspace_bytes, void* stream) {
  namespace roi_align = dcnv3::cuda::roi_align;
  roi_align::Call call{};
  int status = roi_align::prepare(params, call);
  if (status == DCNV3_OK) status = roi_align::take_arrays(grad_input, boxes, grad_output, stream, call);
  if (status != DCNV3_OK || call.g.batch == 0) return status;
  status = dcnv3::cuda::check_workspace(roi_align::bytes_of(call, true), workspace, workspace_bytes);
  if (status != DCNV3_OK) return status;
  call.workspace = workspace;
  return roi_align::passes_of(grad_input.type).backward(call);
}

}  // extern "C"
