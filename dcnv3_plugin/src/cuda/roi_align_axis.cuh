// RoIAlign: where boxes sample, once for all channels.
//
// The average of bilinear samples over a rectangle is a product of averages along rows and columns. So a bin needs, for
// each axis, a run of pixels and their weights; then each of its pixels is read once, however many samples there are.
#pragma once

#include <cmath>
#include <cstdint>

#include "dcnv3/roi_align_cuda.h"
#include "sums.cuh"

namespace dcnv3 {
namespace cuda {
namespace roi_align {

constexpr double kMostSamples = 65536;

// Bins cut the pixels of one axis, to which `offset` and `offset + 2` of a box belong.
struct Axis {
  int bins, length, offset;
};

struct Geometry {
  const double* boxes;
  std::int64_t count;  // of boxes
  std::int64_t batch, channels;
  Axis rows, columns;
  double scale;
  int ratio, aligned;

  // Member by member: a reference chosen at run time would move a kernel's parameters onto its stack.
  DCNV3_BOTH Axis axis(bool is_column) const {
    return {is_column ? columns.bins : rows.bins, is_column ? columns.length : rows.length,
            is_column ? columns.offset : rows.offset};
  }
  DCNV3_BOTH int bins() const { return rows.bins * columns.bins; }
  DCNV3_BOTH std::int64_t pixels() const { return std::int64_t{rows.length} * columns.length; }
};

// Pixels [first, end) of a bin; first -1: the box is no place.
struct Span {
  int first, end;
};

// Weights of the pixels of all bins of an axis are in one array. Neighbouring bins share at most three pixels: in the
// order in which they lie on the map, each gets its pixels' places and three more than the one before.
DCNV3_BOTH std::int64_t weights_of(const Axis& axis) { return axis.length + std::int64_t{3} * axis.bins; }

// The tables of all boxes, by box, rows first.
struct Tables {
  Span* spans;     // [boxes, rows.bins + columns.bins]
  float* weights;  // [boxes, weights of rows + weights of columns]
};

// One axis of a box in these tables.
struct AxisTable {
  Span* spans;
  float* weights;
  bool turned;  // the box's end lies before its start
  int bins;

  // Weights of a bin, by number of the pixel.
  DCNV3_DEVICE float* of(int bin) const { return weights + 3 * (turned ? bins - 1 - bin : bin); }
};

DCNV3_DEVICE AxisTable table_of(const Geometry& g, const Tables& all, std::int64_t box, bool is_column) {
  const Axis axis = g.axis(is_column);
  const std::int64_t spans = g.rows.bins + g.columns.bins, weights = weights_of(g.rows) + weights_of(g.columns);
  const double* numbers = g.boxes + 5 * box;
  return {all.spans + box * spans + (is_column ? g.rows.bins : 0),
          all.weights + box * weights + (is_column ? weights_of(g.rows) : 0),
          g.aligned && numbers[axis.offset + 2] < numbers[axis.offset], axis.bins};
}

// Samples of one bin, in the order of their positions.
struct Samples {
  double first, size;  // of the box's first bin, in pixels
  double count;
  int bin;

  // Whether a bin needs one sample more, or a sample still counts as inside, is decided by the last bit: every
  // operation is rounded by itself, in the order of the definition.
  DCNV3_DEVICE double at(double s) const {
    return unfused_add(unfused_add(first, unfused_multiply(bin, size)), unfused_multiply(s + 0.5, size) / count);
  }
};

// Writes the span of a bin and the weights of its pixels.
DCNV3_DEVICE void weigh(const Axis& axis, const Samples& samples, Span& span, float* weights) {
  const double share = 1 / samples.count;
  span = {0, 0};
  // Weights of the pixel that was reached and of the next one, not yet written.
  double here = 0, next = 0;
  for (double i = 0; i < samples.count; i += 1) {
    double at = samples.at(samples.size < 0 ? samples.count - 1 - i : i);
    if (!(at >= -1 && at <= axis.length)) continue;
    // Up to a pixel outside, the border's value holds.
    at = at > 0 ? (at < axis.length - 1 ? at : axis.length - 1) : 0;
    const int low = static_cast<int>(at);
    const double part = at - low;
    if (span.first == span.end) span = {low, low + 1};
    while (span.end <= low) {
      weights[span.end - 1] = static_cast<float>(here);
      here = next;
      next = 0;
      ++span.end;
    }
    here += (1 - part) * share;
    next += part * share;
  }
  if (span.first == span.end) return;
  weights[span.end - 1] = static_cast<float>(here);
  if (next > 0) weights[span.end++] = static_cast<float>(next);
}

// Fills the tables: one thread per box, axis and bin.
struct Weigh {
  struct Args {
    Geometry g;
    Tables tables;
  };
  static constexpr int kThreads = 128, kBlocks = 8;

  static std::int64_t items(const Geometry& g) { return g.count * (g.rows.bins + g.columns.bins); }

  DCNV3_DEVICE static void run(const Args& args, Block& block) {
    const Geometry& g = args.g;
    const int bins = g.rows.bins + g.columns.bins;
    block.each([&](int thread) {
      const std::int64_t item = block.index() * block.threads() + thread, box = item / bins;
      if (box >= g.count) return;
      const int number = static_cast<int>(item - box * bins);
      const bool is_column = number >= g.rows.bins;
      const Axis axis = g.axis(is_column);
      const double* numbers = g.boxes + 5 * box;
      const double start = numbers[axis.offset], image = numbers[0];
      const double first = unfused_add(unfused_multiply(start, g.scale), g.aligned ? -0.5 : 0.0);
      double extent = unfused_multiply(unfused_add(numbers[axis.offset + 2], -start), g.scale);
      const AxisTable table = table_of(g, args.tables, box, is_column);
      const int bin = is_column ? number - g.rows.bins : number;
      const bool has_image = image >= 0 && image < static_cast<double>(g.batch) && image == floor(image);
      if (!has_image || !is_finite(first) || !is_finite(extent)) {
        table.spans[bin] = {-1, -1};
        return;
      }
      if (!g.aligned && extent < 1) extent = 1;
      const double size = extent / axis.bins, wanted = g.ratio > 0 ? g.ratio : ceil(size);
      weigh(axis, {first, size, wanted < kMostSamples ? wanted : kMostSamples, bin}, table.spans[bin], table.of(bin));
    });
  }
};

}  // namespace roi_align
}  // namespace cuda
}  // namespace dcnv3
