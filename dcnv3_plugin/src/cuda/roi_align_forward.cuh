// RoIAlign, forward: each thread reads the pixels of one bin of one box, for a few channels.
#pragma once

#include "roi_align_axis.cuh"

namespace dcnv3 {
namespace cuda {
namespace roi_align {

// Channels of a thread: they have pixels and weights in common.
constexpr int kChannels = 4;

// How boxes, channels and bins are shared out: a block has one box and some groups of kChannels channels.
struct Layout {
  Geometry g;
  Tables tables;
  int groups;            // of a block
  std::int64_t per_box;  // blocks of a box
};

// One bin of one box, and the channels of a thread.
struct Bin {
  Span rows, columns;
  const float *row_weights, *column_weights;
  std::int64_t map;     // the first of its channels' maps
  std::int64_t output;  // its number in the first channel's output
  int channels;         // 1 to kChannels
};

// Whether a box is finite and has an image.
DCNV3_DEVICE bool is_place(const Layout& at, std::int64_t box) {
  return table_of(at.g, at.tables, box, false).spans[0].first >= 0 &&
         table_of(at.g, at.tables, box, true).spans[0].first >= 0;
}

// Calls `work(bin)` for the bins and channels of a thread.
template <typename Work>
DCNV3_DEVICE void each_bin(const Block& block, const Layout& at, int thread, const Work& work) {
  const Geometry& g = at.g;
  const std::int64_t box = block.index() / at.per_box, first_group = block.index() % at.per_box * at.groups;
  const AxisTable rows = table_of(g, at.tables, box, false), columns = table_of(g, at.tables, box, true);
  const std::int64_t image = is_place(at, box) ? static_cast<std::int64_t>(g.boxes[5 * box]) : 0;
  for (int item = thread; item < at.groups * g.bins(); item += block.threads()) {
    const int group = item / g.bins(), number = item - group * g.bins();
    const int row = number / g.columns.bins, column = number - row * g.columns.bins;
    const std::int64_t channel = (first_group + group) * kChannels, left = g.channels - channel;
    if (left <= 0) continue;
    work(Bin{rows.spans[row], columns.spans[column], rows.of(row), columns.of(column),
             (image * g.channels + channel) * g.pixels(), (box * g.channels + channel) * g.bins() + number,
             static_cast<int>(left < kChannels ? left : kChannels)});
  }
}

// Calls `visit(pixel, row_weight, column_weight)` for the pixels of a bin that have a weight, and `end_row(row_weight)`
// after each of its rows.
template <typename Visit, typename EndRow>
DCNV3_DEVICE void each_pixel(const Geometry& g, const Bin& bin, const Visit& visit, const EndRow& end_row) {
  for (int y = bin.rows.first; y < bin.rows.end; ++y) {
    const float row_weight = bin.row_weights[y];
    if (row_weight == 0) continue;
    for (int x = bin.columns.first; x < bin.columns.end; ++x) {
      const float column_weight = bin.column_weights[x];
      if (column_weight != 0) visit(std::int64_t{y} * g.columns.length + x, row_weight, column_weight);
    }
    end_row(row_weight);
  }
}

template <typename T>
struct Forward {
  struct Args {
    Layout at;
    const T* map;
    T* output;
  };
  static constexpr int kThreads = 256, kBlocks = 4;
  static std::size_t shared_bytes(int) { return 0; }

  DCNV3_DEVICE static void run(const Args& args, Block& block) {
    const Geometry& g = args.at.g;
    const bool place = is_place(args.at, block.index() / args.at.per_box);
    block.each([&](int thread) {
      each_bin(block, args.at, thread, [&](const Bin& bin) {
        float sum[kChannels] = {}, line[kChannels] = {};
        if (place) {
          // A channel that is not there is read as the last one that is.
          const T* maps[kChannels];
          DCNV3_UNROLL
          for (int c = 0; c < kChannels; ++c)
            maps[c] = args.map + bin.map + (c < bin.channels ? c : bin.channels - 1) * g.pixels();
          each_pixel(
              g, bin,
              [&](std::int64_t pixel, float, float weight) {
                DCNV3_UNROLL
                for (int c = 0; c < kChannels; ++c) line[c] += weight * to_float(maps[c][pixel]);
              },
              [&](float weight) {
                DCNV3_UNROLL
                for (int c = 0; c < kChannels; ++c) {
                  sum[c] += weight * line[c];
                  line[c] = 0;
                }
              });
        }
        DCNV3_UNROLL
        for (int c = 0; c < kChannels; ++c)
          if (c < bin.channels) from_float(place ? sum[c] : NAN, args.output[bin.output + c * std::int64_t{g.bins()}]);
      });
    });
  }
};

}  // namespace roi_align
}  // namespace cuda
}  // namespace dcnv3
