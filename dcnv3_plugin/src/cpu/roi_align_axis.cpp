// Where a box of RoIAlign samples. Compiled once and without fused multiply-adds: whether a bin needs one sample more,
// or a sample still counts as inside, is decided by the last bit, and must be on every machine as in PyTorch.
#include <cmath>

#include "roi_align_call.h"

namespace dcnv3 {
namespace {

constexpr double kMostSamples = 65536;

// Adds a sample's weight to its two neighbours; `span` grows by pixels of weight 0.
void add_sample(double at, double weight, std::int64_t length, RoiSpan& span, double* weights) {
  // Up to a pixel outside, the border's value holds.
  at = at > 0 ? at : 0;
  std::int64_t low = static_cast<std::int64_t>(at);
  if (low > length - 1) low = length - 1;
  const std::int64_t high = low < length - 1 ? low + 1 : low;
  const double part = high > low ? at - static_cast<double>(low) : 0;
  if (span.first == span.end) span.first = span.end = low;
  while (span.end <= high) weights[span.end++] = 0;
  while (span.first > low) weights[--span.first] = 0;
  weights[low] += (1 - part) * weight;
  weights[high] += part * weight;
}

}  // namespace

bool roi_align_axis(const dcnv3_roi_align_params& params, const double* box, int axis, const RoiAxis& size,
                    RoiSpan* spans, double* weights) {
  const bool aligned = (params.flags & DCNV3_ROI_ALIGNED) != 0;
  const double start = box[1 + axis] * params.spatial_scale - (aligned ? 0.5 : 0.0);
  double extent = (box[3 + axis] - box[1 + axis]) * params.spatial_scale;
  if (!std::isfinite(start) || !std::isfinite(extent)) return false;
  if (!aligned && extent < 1) extent = 1;
  const double bin = extent / size.bins;
  double samples = params.sampling_ratio > 0 ? params.sampling_ratio : std::ceil(bin);
  if (samples > kMostSamples) samples = kMostSamples;
  for (int b = 0; b < size.bins; ++b) {
    spans[b] = {0, 0};
    for (double s = 0; s < samples; s += 1) {
      const double at = start + b * bin + (s + 0.5) * bin / samples;
      if (at >= -1 && at <= static_cast<double>(size.length))
        add_sample(at, 1 / samples, size.length, spans[b], weights + b * size.length);
    }
  }
  return true;
}

}  // namespace dcnv3
