// Multi-scale deformable attention, forward: weights and first pixels of a tile's samples go into shared memory, then
// each thread sums the samples of one unit for the channels of one access.
#pragma once

#include "msda_samples.cuh"

namespace dcnv3 {
namespace cuda {
namespace msda {

// LANES channels per thread; CHANNELS of a head, 0: known at run time.
template <typename T, int LANES, int CHANNELS>
struct Forward {
  struct Args {
    Geometry g;
    T* output;
  };
  static constexpr int kThreads = 256, kBlocks = 4;

  // Threads that share a unit.
  static int threads_per_unit(const Geometry& g) { return (g.tile_channels + LANES - 1) / LANES; }

  static std::size_t shared_bytes(const Geometry& g) {
    const std::size_t units = static_cast<std::size_t>(g.tile_units), slab = static_cast<std::size_t>(g.slab);
    const std::size_t sums = g.slab < g.samples ? static_cast<std::size_t>(g.tile_channels) : 0;
    return slab * sizeof(Slot) +
           units * (slab * (sizeof(Corners) + sizeof(int)) + sizeof(Unit) + g.parts * sizeof(Share) +
                    sums * sizeof(float));
  }

  DCNV3_DEVICE static void run(const Args& args, Block& block) {
    const Geometry& g = args.g;
    const int channels = channels_of<CHANNELS>(g), tile = CHANNELS > 0 ? CHANNELS : g.tile_channels;
    const int chunks = tile / LANES, first_channel = static_cast<int>(block.index() % g.channel_tiles) * tile;
    Slot* slots = block.take<Slot>(g.slab);
    Corners* weights = block.take<Corners>(g.tile_units * g.slab);
    Unit* units = block.take<Unit>(g.tile_units);
    Share* shares = block.take<Share>(g.tile_units * g.parts);
    int* first = block.take<int>(g.tile_units * g.slab);
    // Sums of the slabs before; with one slab, there is no room for them.
    float* sums = block.take<float>(g.slab < g.samples ? g.tile_units * tile : 0);

    stage_units(block, g, units);
    stage_softmax(block, g, units, shares);
    for (int from = 0; from < g.samples; from += g.slab) {
      stage_slots(block, g, from, slots);
      stage_samples(block, g, units, slots, from, [&](int s, const Field& field, const Sample& sample) {
        weights[s] = corners_of(field, sample, sample.mask);
        first[s] = sample.first;
      });
      const int count = g.samples - from < g.slab ? g.samples - from : g.slab;
      block.each([&](int thread) {
        for (int item = thread; item < g.tile_units * chunks; item += block.threads()) {
          const int u = item / chunks, local = (item - u * chunks) * LANES, channel = first_channel + local;
          const Unit unit = units[u];
          if (unit.number < 0 || channel >= channels) continue;
          float sum[LANES] = {};
          if (from > 0) {
            DCNV3_UNROLL
            for (int l = 0; l < LANES; ++l) sum[l] = sums[u * tile + local + l];
          }
          gather(g, unit, channel, weights + u * g.slab, first + u * g.slab, slots, count, sum);
          if (from + count == g.samples) {
            store<T, LANES>(sum, args.output + unit.number * channels + channel);
          } else {
            DCNV3_UNROLL
            for (int l = 0; l < LANES; ++l) sums[u * tile + local + l] = sum[l];
          }
        }
      });
    }
  }

  // Adds `count` samples of a unit, for the channels of one access.
  DCNV3_DEVICE static void gather(const Geometry& g, const Unit& unit, int channel, const Corners* weights,
                                  const int* first, const Slot* slots, int count, float (&sum)[LANES]) {
    const T* base = static_cast<const T*>(g.value) + unit.base + channel;
    DCNV3_UNROLL_BY(4)
    for (int i = 0; i < count; ++i) {
      const Corners w = weights[i];
      const T* p = base + first[i] * g.pixel;
      const std::int64_t right = slots[i].right, down = slots[i].down;
      add_scaled<T, LANES>(p, w.w00, sum);
      add_scaled<T, LANES>(p + right, w.w01, sum);
      add_scaled<T, LANES>(p + down, w.w10, sum);
      add_scaled<T, LANES>(p + down + right, w.w11, sum);
    }
  }
};

}  // namespace msda
}  // namespace cuda
}  // namespace dcnv3
