// Multi-scale deformable attention, backward, on the tiles of the forward pass: sums of the value's gradient, gradients
// of locations and weights, and for sums in fixed point the largest number that will be summed.
#pragma once

#include "msda_samples.cuh"
#include "workspace.cuh"

namespace dcnv3 {
namespace cuda {
namespace msda {

template <typename T, int LANES, int CHANNELS>
struct Backward {
  struct Args {
    Geometry g;
    const T* gradient;             // of the output
    dcnv3_array location, weight;  // gradients; no data: not asked for
    Sums sums;
    int parts;  // of Part
    int share;  // threads that share a unit
  };
  static constexpr int kThreads = 128, kBlocks = 5;
  // Samples whose dots are reduced together: as many as registers hold.
  static constexpr int kRun = 4;

  static int threads_per_unit(const Geometry& g) {
    const int chunks = (g.channels + LANES - 1) / LANES;
    return chunks < 32 ? chunks : 32;
  }

  // Weights of the samples and, after the value's gradient is done, dots: they have one place.
  DCNV3_BOTH static int corners_per_unit(const Geometry& g, int share) {
    return g.slab > kRun * share ? g.slab : kRun * share;
  }

  static std::size_t shared_bytes(const Geometry& g) {
    const std::size_t units = static_cast<std::size_t>(g.tile_units), slab = static_cast<std::size_t>(g.slab);
    return slab * sizeof(Slot) +
           units * (sizeof(Unit) + g.parts * sizeof(Share) + slab * (sizeof(Sample) + sizeof(float)) +
                    corners_per_unit(g, threads_per_unit(g)) * sizeof(Corners));
  }

  struct Tile {
    Slot* slots;
    Sample* samples;
    Corners* corners;  // weights per sample; dots [kRun][units * share]
    Unit* units;
    float* along;  // per sample: gradient of its weight
    int from;      // the slab's first sample
    int count;     // samples of the slab
  };

  DCNV3_DEVICE static void run(const Args& args, Block& block) {
    const Geometry& g = args.g;
    const int share = CHANNELS > 0 ? CHANNELS / LANES : args.share;
    Tile tile;
    tile.slots = block.take<Slot>(g.slab);
    tile.samples = block.take<Sample>(g.tile_units * g.slab);
    tile.corners = block.take<Corners>(g.tile_units * corners_per_unit(g, share));
    tile.units = block.take<Unit>(g.tile_units);
    Share* shares = block.take<Share>(g.tile_units * g.parts);
    tile.along = block.take<float>(g.tile_units * g.slab);

    const bool sums = (args.parts & kInput) != 0, samples = (args.parts & kSamples) != 0;
    stage_units(block, g, tile.units);
    stage_softmax(block, g, tile.units, shares);
    if ((args.parts & kBound) != 0) bound(args, block, tile.units);
    if (!sums && !samples) return;
    // A softmax takes off what all samples have in common: with several slabs, that needs a sweep of its own.
    const bool needs_mean = samples && g.softmax && args.weight.data != nullptr;
    const bool twice = needs_mean && g.slab < g.samples;
    for (int sweep = twice ? 0 : 1; sweep < 2; ++sweep) {
      for (tile.from = 0; tile.from < g.samples; tile.from += g.slab) {
        tile.count = g.samples - tile.from < g.slab ? g.samples - tile.from : g.slab;
        stage(block, g, tile, sums && sweep == 1);
        if (sums && sweep == 1) add_to_value(args, block, tile);
        if (!samples) continue;
        for (int i = 0; i < tile.count; i += kRun) {
          dot_run(args, block, tile, i, share);
          finish_run(args, block, tile, i, share);
        }
        if (needs_mean && !(twice && sweep == 1)) add_to_mean(block, g, tile);
        if (sweep == 1) write_samples(args, block, tile);
      }
    }
  }

  DCNV3_DEVICE static void stage(const Block& block, const Geometry& g, const Tile& tile, bool weighs) {
    stage_slots(block, g, tile.from, tile.slots);
    stage_samples(block, g, tile.units, tile.slots, tile.from, [&](int s, const Field& field, const Sample& sample) {
      tile.samples[s] = sample;
      if (weighs) tile.corners[s] = corners_of(field, sample, sample.mask);
    });
  }

  // Raises the bound of the sums to the largest number this tile can add.
  DCNV3_DEVICE static void bound(const Args& args, const Block& block, Unit* units) {
    const Geometry& g = args.g;
    const int channels = channels_of<CHANNELS>(g);
    block.each([&](int thread) {
      for (int u = thread; u < g.tile_units; u += block.threads()) {
        const Unit unit = units[u];
        if (unit.number < 0) continue;
        float gradient = 0, weight = 0;
        for (int c = 0; c < channels; ++c)
          gradient = largest(gradient, to_float(args.gradient[unit.number * channels + c]));
        for (int k = 0; k < g.samples; ++k) weight = largest(weight, attention(g, unit, k));
        units[u].mean = product(gradient, weight);
      }
    });
    block.each([&](int thread) {
      if (thread > 0) return;
      float most = 0;
      for (int u = 0; u < g.tile_units; ++u) {
        most = largest(most, units[u].mean);
        units[u].mean = 0;
      }
      args.sums.raise_bound(block, most);
    });
  }

  // One thread per unit and channel: neighbours add to neighbouring addresses.
  DCNV3_DEVICE static void add_to_value(const Args& args, const Block& block, const Tile& tile) {
    const Geometry& g = args.g;
    const int channels = channels_of<CHANNELS>(g), shift = args.sums.shift();
    block.each([&](int thread) {
      for (int item = thread; item < g.tile_units * channels; item += block.threads()) {
        const int u = item / channels, c = item - u * channels;
        const Unit unit = tile.units[u];
        if (unit.number < 0) continue;
        const float gradient = to_float(args.gradient[unit.number * channels + c]);
        DCNV3_UNROLL_BY(1)
        for (int i = 0; i < tile.count; ++i) {
          const Corners w = tile.corners[u * g.slab + i];
          const std::int64_t p = unit.base + c + tile.samples[u * g.slab + i].first * g.pixel;
          const std::int64_t right = tile.slots[i].right, down = tile.slots[i].down;
          // Far samples, and all but one pixel of a sample on a pixel's centre, cost nothing. NaN is not 0.
          if (w.w00 != 0) args.sums.add(block, p, gradient * w.w00, shift);
          if (w.w01 != 0) args.sums.add(block, p + right, gradient * w.w01, shift);
          if (w.w10 != 0) args.sums.add(block, p + down, gradient * w.w10, shift);
          if (w.w11 != 0) args.sums.add(block, p + down + right, gradient * w.w11, shift);
        }
      }
    });
  }

  // Dots of output gradient and pixels for the slab's samples from `from`, each thread over its own channels.
  DCNV3_DEVICE static void dot_run(const Args& args, const Block& block, const Tile& tile, int from, int share) {
    const Geometry& g = args.g;
    const int channels = channels_of<CHANNELS>(g), items = g.tile_units * share;
    block.each([&](int thread) {
      for (int item = thread; item < items; item += block.threads()) {
        const int u = item / share;
        const Unit unit = tile.units[u];
        if (unit.number < 0) continue;
        Corners sum[kRun] = {};
        for (int channel = (item - u * share) * LANES; channel < channels; channel += share * LANES) {
          float gradient[LANES];
          load<T, LANES>(args.gradient + unit.number * channels + channel, gradient);
          const T* base = static_cast<const T*>(g.value) + unit.base + channel;
          DCNV3_UNROLL
          for (int i = 0; i < kRun; ++i) {
            if (from + i >= tile.count) continue;
            const T* p = base + tile.samples[u * g.slab + from + i].first * g.pixel;
            const std::int64_t right = tile.slots[from + i].right, down = tile.slots[from + i].down;
            sum[i].w00 += dot<T, LANES>(p, gradient);
            sum[i].w01 += dot<T, LANES>(p + right, gradient);
            sum[i].w10 += dot<T, LANES>(p + down, gradient);
            sum[i].w11 += dot<T, LANES>(p + down + right, gradient);
          }
        }
        DCNV3_UNROLL
        for (int i = 0; i < kRun; ++i) tile.corners[i * items + item] = sum[i];
      }
    });
  }

  // Adds up the dots of a unit in a fixed order; turns them into the gradients of locations, left in the samples.
  DCNV3_DEVICE static void finish_run(const Args& args, const Block& block, const Tile& tile, int from, int share) {
    const Geometry& g = args.g;
    const int items = g.tile_units * share;
    block.each([&](int thread) {
      for (int item = thread; item < g.tile_units * kRun; item += block.threads()) {
        const int u = item / kRun, i = item - u * kRun;
        if (tile.units[u].number < 0 || from + i >= tile.count) continue;
        Corners d = {};
        for (int part = 0; part < share; ++part) {
          const Corners& more = tile.corners[i * items + u * share + part];
          d.w00 += more.w00;
          d.w01 += more.w01;
          d.w10 += more.w10;
          d.w11 += more.w11;
        }
        const int s = u * g.slab + from + i;
        Sample& sample = tile.samples[s];
        const Field field = field_of(tile.slots[from + i]);
        const Blend blended = blend(field, sample, d);
        tile.along[s] = blended.value;
        sample.x = sample.mask * static_cast<float>(field.width) * blended.x;
        sample.y = sample.mask * static_cast<float>(field.height) * blended.y;
      }
    });
  }

  DCNV3_DEVICE static void add_to_mean(const Block& block, const Geometry& g, const Tile& tile) {
    block.each([&](int thread) {
      for (int u = thread; u < g.tile_units; u += block.threads()) {
        if (tile.units[u].number < 0) continue;
        float mean = tile.units[u].mean;
        for (int s = u * g.slab; s < u * g.slab + tile.count; ++s) mean += tile.samples[s].mask * tile.along[s];
        tile.units[u].mean = mean;
      }
    });
  }

  DCNV3_DEVICE static void write_samples(const Args& args, const Block& block, const Tile& tile) {
    const Geometry& g = args.g;
    block.each([&](int thread) {
      for (int s = thread; s < g.tile_units * g.slab; s += block.threads()) {
        const int u = s / g.slab, i = s - u * g.slab;
        const Unit& unit = tile.units[u];
        if (unit.number < 0 || i >= tile.count) continue;
        const std::int64_t at = unit.number * g.samples + tile.from + i;
        const Sample& sample = tile.samples[s];
        if (args.weight.data != nullptr) {
          const float along = tile.along[s];
          write(args.weight, at, g.softmax ? sample.mask * (along - unit.mean) : along);
        }
        if (args.location.data != nullptr) {
          write(args.location, 2 * at, sample.x);
          write(args.location, 2 * at + 1, sample.y);
        }
      }
    });
  }
};

}  // namespace msda
}  // namespace cuda
}  // namespace dcnv3
