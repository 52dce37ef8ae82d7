// RoIAlign on the CPU. This file is compiled once per instruction set, with DCNV3_ISA naming its namespace.
//
// The average over a bin is a product of averages along rows and columns (roi_align_axis.cpp). So the rows of a bin
// are summed first, in vectors along the row, and columns last: far fewer steps than samples. Forward work is shared
// out by boxes and blocks of channels. Backward work is shared out by images and blocks of channels, between which
// gradients never meet: no atomics, the same bits for any number of threads.
#include <type_traits>

#include "roi_align_call.h"
#include "vec.h"

namespace dcnv3 {
namespace DCNV3_ISA {
namespace roi_align {

constexpr std::int64_t kForwardBlock = 64, kBackwardBlock = 8;

// One axis of a box: spans of its bins and their weights, in the type of the arithmetic.
template <typename A>
class Axis {
 public:
  Axis(int bins, std::int64_t length)
      : spans(bins), size_{bins, length}, exact_(static_cast<std::size_t>(bins) * length),
        weights_(static_cast<std::size_t>(bins) * length) {}
  bool ok() const { return spans.ok() && exact_.ok() && weights_.ok(); }

  // False where the box is not finite.
  bool load(const RoiAlignCall& call, const double* box, int axis) {
    if (!roi_align_axis(call.p, box, axis, size_, spans.data(), exact_.data())) return false;
    all = {size_.length, 0};
    for (int b = 0; b < size_.bins; ++b) {
      const RoiSpan span = spans[b];
      if (span.first == span.end) continue;
      all.first = least(all.first, span.first);
      all.end = all.end > span.end ? all.end : span.end;
      for (std::int64_t i = b * size_.length + span.first; i < b * size_.length + span.end; ++i)
        weights_[i] = static_cast<A>(exact_[i]);
    }
    if (all.end == 0) all = {0, 0};
    return true;
  }

  const A* weights(int bin) const { return &weights_[bin * size_.length]; }

  Buffer<RoiSpan> spans;
  RoiSpan all{0, 0};  // of all bins together

 private:
  const RoiAxis size_;
  Buffer<double> exact_;
  Buffer<A> weights_;
};

// What a thread works with.
template <typename A>
struct Work {
  Axis<A> columns, rows;
  Buffer<A> line;  // one row of the map, summed over a bin's rows
  explicit Work(const dcnv3_roi_align_params& p)
      : columns(p.out_width, p.width), rows(p.out_height, p.height), line(p.width) {}
  bool ok() const { return columns.ok() && rows.ok() && line.ok(); }
  bool load(const RoiAlignCall& call, std::int64_t k) {
    const double* box = call.boxes + 5 * k;
    return columns.load(call, box, 0) && rows.load(call, box, 1);
  }
};

template <typename T, typename A>
void forward_channel(const dcnv3_roi_align_params& p, Work<A>& work, const T* map, T* out) {
  const RoiSpan all = work.columns.all;
  A* __restrict line = work.line.data();
  for (int row_bin = 0; row_bin < p.out_height; ++row_bin) {
    const RoiSpan span = work.rows.spans[row_bin];
    const A* row_weights = work.rows.weights(row_bin);
    for (std::int64_t x = all.first; x < all.end; ++x) line[x] = 0;
    for (std::int64_t y = span.first; y < span.end; ++y) {
      const A weight = row_weights[y];
      if (weight == 0) continue;
      const T* row = map + y * p.width;
      for (std::int64_t x = all.first; x < all.end; ++x) line[x] += weight * to_float(row[x]);
    }
    for (int bin = 0; bin < p.out_width; ++bin) {
      const A* weights = work.columns.weights(bin);
      A sum = 0;
      for (std::int64_t x = work.columns.spans[bin].first; x < work.columns.spans[bin].end; ++x)
        sum += weights[x] * line[x];
      from_float(sum, out[row_bin * p.out_width + bin]);
    }
  }
}

template <typename T, typename A>
int forward_type(const RoiAlignCall& call) {
  const dcnv3_roi_align_params& p = call.p;
  const std::int64_t blocks = (p.channels + kForwardBlock - 1) / kForwardBlock;
  const std::int64_t bins = std::int64_t{p.out_height} * p.out_width;
  int status = DCNV3_OK;
#pragma omp parallel num_threads(call.threads)
  {
    Work<A> work(p);
    const bool ok = work.ok();
    if (!ok) {
#pragma omp atomic write
      status = DCNV3_OUT_OF_MEMORY;
    }
#pragma omp for schedule(dynamic, 4)
    for (std::int64_t unit = 0; unit < p.boxes * blocks; ++unit) {
      if (!ok) continue;
      const std::int64_t k = unit / blocks, from = unit % blocks * kForwardBlock;
      const std::int64_t to = least(from + kForwardBlock, p.channels);
      const std::int64_t image = static_cast<std::int64_t>(call.boxes[5 * k]);
      const bool finite = work.load(call, k);
      for (std::int64_t c = from; c < to; ++c) {
        T* out = static_cast<T*>(call.output.data) + (k * p.channels + c) * bins;
        if (finite) {
          const T* map = static_cast<const T*>(call.map.data) + (image * p.channels + c) * p.height * p.width;
          forward_channel<T, A>(p, work, map, out);
        } else {
          for (std::int64_t i = 0; i < bins; ++i) from_float(static_cast<A>(__builtin_nan("")), out[i]);
        }
      }
    }
  }
  return status;
}

template <typename T, typename A>
void backward_channel(const dcnv3_roi_align_params& p, Work<A>& work, const T* grad, A* sums) {
  const RoiSpan all = work.columns.all;
  A* __restrict line = work.line.data();
  for (int row_bin = 0; row_bin < p.out_height; ++row_bin) {
    const RoiSpan span = work.rows.spans[row_bin];
    if (span.first == span.end) continue;
    for (std::int64_t x = all.first; x < all.end; ++x) line[x] = 0;
    for (int bin = 0; bin < p.out_width; ++bin) {
      const A* weights = work.columns.weights(bin);
      const A gradient = to_float(grad[row_bin * p.out_width + bin]);
      for (std::int64_t x = work.columns.spans[bin].first; x < work.columns.spans[bin].end; ++x)
        line[x] += weights[x] * gradient;
    }
    const A* row_weights = work.rows.weights(row_bin);
    for (std::int64_t y = span.first; y < span.end; ++y) {
      const A weight = row_weights[y];
      if (weight == 0) continue;
      A* row = sums + y * p.width;
      for (std::int64_t x = all.first; x < all.end; ++x) row[x] += weight * line[x];
    }
  }
}

// Gradient of channels [channel, channel + count) of one image, into `sums`.
template <typename T, typename A>
void backward_block(const RoiAlignCall& call, Work<A>& work, std::int64_t image, std::int64_t channel,
                    std::int64_t count, A* sums) {
  const dcnv3_roi_align_params& p = call.p;
  const std::int64_t bins = std::int64_t{p.out_height} * p.out_width, pixels = p.height * p.width;
  for (std::int64_t i = 0; i < count * pixels; ++i) sums[i] = 0;
  for (std::int64_t k = 0; k < p.boxes; ++k) {
    if (static_cast<std::int64_t>(call.boxes[5 * k]) != image || !work.load(call, k)) continue;
    for (std::int64_t c = 0; c < count; ++c) {
      const T* grad = static_cast<const T*>(call.output.data) + (k * p.channels + channel + c) * bins;
      backward_channel<T, A>(p, work, grad, sums + c * pixels);
    }
  }
}

template <typename T, typename A>
int backward_type(const RoiAlignCall& call) {
  const dcnv3_roi_align_params& p = call.p;
  const std::int64_t blocks = (p.channels + kBackwardBlock - 1) / kBackwardBlock, pixels = p.height * p.width;
  constexpr bool widens = !std::is_same_v<T, A>;
  int status = DCNV3_OK;
#pragma omp parallel num_threads(call.threads)
  {
    Work<A> work(p);
    // Sums of a narrow type go through a work area.
    Buffer<A> wide(widens ? static_cast<std::size_t>(kBackwardBlock * pixels) : 0);
    const bool ok = work.ok() && wide.ok();
    if (!ok) {
#pragma omp atomic write
      status = DCNV3_OUT_OF_MEMORY;
    }
#pragma omp for schedule(static)
    for (std::int64_t unit = 0; unit < p.batch * blocks; ++unit) {
      if (!ok) continue;
      const std::int64_t image = unit / blocks, from = unit % blocks * kBackwardBlock;
      const std::int64_t count = least(kBackwardBlock, p.channels - from);
      T* result = static_cast<T*>(call.map.data) + (image * p.channels + from) * pixels;
      if constexpr (widens) {
        backward_block<T, A>(call, work, image, from, count, wide.data());
        for (std::int64_t i = 0; i < count * pixels; ++i) from_float(wide[i], result[i]);
      } else {
        backward_block<T, A>(call, work, image, from, count, result);
      }
    }
  }
  return status;
}

int forward(const RoiAlignCall& call) {
  switch (call.map.type) {
    case DCNV3_F32: return forward_type<float, float>(call);
    case DCNV3_F64: return forward_type<double, double>(call);
    case DCNV3_BF16: return forward_type<bf16, float>(call);
    default: return DCNV3_UNSUPPORTED;
  }
}

int backward(const RoiAlignCall& call) {
  switch (call.map.type) {
    case DCNV3_F32: return backward_type<float, float>(call);
    case DCNV3_F64: return backward_type<double, double>(call);
    case DCNV3_BF16: return backward_type<bf16, float>(call);
    default: return DCNV3_UNSUPPORTED;
  }
}

}  // namespace roi_align

extern const RoiAlignKernels roi_align_kernels = {roi_align::forward, roi_align::backward};

}  // namespace DCNV3_ISA
}  // namespace dcnv3
