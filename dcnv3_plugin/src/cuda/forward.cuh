// Forward pass: weights and first pixels of a tile's samples go into shared memory, then each thread sums the samples
// of one unit for the channels of one access.
#pragma once

#include "samples.cuh"

namespace dcnv3 {
namespace cuda {

// LANES channels per thread; CHANNELS and POINTS of a group, 0: known at run time.
template <typename T, int LANES, int CHANNELS, int POINTS>
struct Forward {
  struct Args {
    Geometry g;
    T* output;
  };
  static constexpr int kThreads = 256, kBlocks = 4;

  // Threads that share a unit.
  static int threads_per_unit(const Geometry& g) { return (g.channels + LANES - 1) / LANES; }

  static std::size_t shared_bytes(const Geometry& g, int units) {
    return static_cast<std::size_t>(units) * (sizeof(Unit) + g.points * (sizeof(Corners) + sizeof(int)));
  }

  DCNV3_DEVICE static void run(const Args& args, Block& block) {
    const Geometry& g = args.g;
    const int points = points_of<POINTS>(g), channels = channels_of<CHANNELS>(g), chunks = channels / LANES;
    Corners* weights = block.take<Corners>(g.units() * points);
    Unit* units = block.take<Unit>(g.units());
    int* first = block.take<int>(g.units() * points);

    const auto mask_of = [&](int s) -> float& { return weights[s].w00; };
    stage_units(block, g, units);
    stage_softmax<POINTS>(block, g, units, mask_of);
    stage_samples<POINTS>(block, g, units, mask_of, [&](int s, const Sample& sample) {
      weights[s] = corners_of(g.map, sample, sample.mask);
      first[s] = sample.first;
    });

    const T* image = static_cast<const T*>(g.input) + image_of(g, block.index());
    block.each([&](int thread) {
      for (int item = thread; item < g.units() * chunks; item += block.threads()) {
        const int u = item / chunks, channel = (item - u * chunks) * LANES;
        const Unit unit = units[u];
        if (unit.number < 0) continue;
        const T* base = image + std::int64_t{unit.group} * channels + channel;
        float sum[LANES] = {};
        DCNV3_UNROLL_BY(3)
        for (int k = 0; k < points; ++k) {
          const Corners w = weights[u * points + k];
          const T* p = base + first[u * points + k] * g.pixel;
          add_scaled<T, LANES>(p, w.w00, sum);
          add_scaled<T, LANES>(p + g.right, w.w01, sum);
          add_scaled<T, LANES>(p + g.down, w.w10, sum);
          add_scaled<T, LANES>(p + g.down + g.right, w.w11, sum);
        }
        const std::int64_t at = unit.number * channels + channel;
        if (g.gate.data != nullptr) {
          // The centre's pixel has the output's place: both maps have one size.
          float center[LANES];
          load<T, LANES>(static_cast<const T*>(g.input) + at, center);
          const float gate = read(g.gate, unit.number);
          DCNV3_UNROLL
          for (int l = 0; l < LANES; ++l) sum[l] = sum[l] * unit.keep + center[l] * gate;
        }
        store<T, LANES>(sum, args.output + at);
      }
    });
  }
};

}  // namespace cuda
}  // namespace dcnv3
