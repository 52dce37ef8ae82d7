// RoIAlign, backward: each thread adds the gradient of one bin of one box to its pixels, for a few channels.
#pragma once

#include "roi_align_forward.cuh"
#include "workspace.cuh"

namespace dcnv3 {
namespace cuda {
namespace roi_align {

template <typename T>
struct Backward {
  struct Args {
    Layout at;
    const T* gradient;
    Sums sums;
    int parts;  // of Part
  };
  static constexpr int kThreads = 256, kBlocks = 4;
  static std::size_t shared_bytes(int threads) { return static_cast<std::size_t>(threads) * sizeof(float); }

  DCNV3_DEVICE static void run(const Args& args, Block& block) {
    float* most = block.take<float>(block.threads());
    if (!is_place(args.at, block.index() / args.at.per_box)) return;
    if ((args.parts & kBound) != 0) bound(args, block, most);
    if ((args.parts & kInput) != 0) add_to_map(args, block);
  }

  // Raises the bound of the sums to the largest gradient of this block: no weight is above 1.
  DCNV3_DEVICE static void bound(const Args& args, const Block& block, float* most) {
    const std::int64_t step = args.at.g.bins();
    block.each([&](int thread) {
      float found = 0;
      each_bin(block, args.at, thread, [&](const Bin& bin) {
        for (int c = 0; c < bin.channels; ++c) found = largest(found, to_float(args.gradient[bin.output + c * step]));
      });
      most[thread] = found;
    });
    block.each([&](int thread) {
      if (thread > 0) return;
      float all = 0;
      for (int i = 0; i < block.threads(); ++i) all = largest(all, most[i]);
      args.sums.raise_bound(block, all);
    });
  }

  DCNV3_DEVICE static void add_to_map(const Args& args, const Block& block) {
    const Geometry& g = args.at.g;
    const int shift = args.sums.shift();
    block.each([&](int thread) {
      each_bin(block, args.at, thread, [&](const Bin& bin) {
        float gradient[kChannels] = {};
        DCNV3_UNROLL
        for (int c = 0; c < kChannels; ++c)
          if (c < bin.channels) gradient[c] = to_float(args.gradient[bin.output + c * std::int64_t{g.bins()}]);
        each_pixel(
            g, bin,
            [&](std::int64_t pixel, float row_weight, float column_weight) {
              DCNV3_UNROLL
              for (int c = 0; c < kChannels; ++c)
                if (c < bin.channels)
                  args.sums.add(block, bin.map + c * g.pixels() + pixel, gradient[c] * (row_weight * column_weight),
                                shift);
            },
            [](float) {});
      });
    });
  }
};

}  // namespace roi_align
}  // namespace cuda
}  // namespace dcnv3
