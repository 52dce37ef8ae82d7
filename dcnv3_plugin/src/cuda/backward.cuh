// Backward pass on the tiles of the forward pass, in up to three parts: sums of the input's gradient, gradients of the
// samples (offset, mask, gate), and for sums in fixed point the largest number that will be summed.
#pragma once

#include "samples.cuh"
#include "workspace.cuh"

namespace dcnv3 {
namespace cuda {

template <typename T, int LANES, int CHANNELS, int POINTS>
struct Backward {
  struct Args {
    Geometry g;
    const T* gradient;  // of the output
    dcnv3_array offset, mask, gate;  // gradients; no data: not asked for
    Sums sums;
    int parts;  // of Part
    int share;  // threads that share a unit
  };
  static constexpr int kThreads = 128, kBlocks = 5;
  // Points whose dots are reduced together: as many as registers hold.
  static constexpr int kSlab = POINTS > 0 ? 3 : 5;
  static constexpr bool kWholeSlabs = POINTS > 0 && POINTS % kSlab == 0;

  static int threads_per_unit(const Geometry& g) {
    const int chunks = (g.channels + LANES - 1) / LANES;
    return chunks < 32 ? chunks : 32;
  }

  // Weights of the samples and, after the input's gradient is done, dots: they have one place.
  DCNV3_BOTH static int corners_per_unit(int points, int share) {
    return points > kSlab * share ? points : kSlab * share;
  }

  static std::size_t shared_bytes(const Geometry& g, int units) {
    return static_cast<std::size_t>(units) *
           (sizeof(Unit) + sizeof(float) + g.points * (sizeof(Sample) + sizeof(float)) +
            corners_per_unit(g.points, threads_per_unit(g)) * sizeof(Corners));
  }

  struct Tile {
    Sample* samples;
    Corners* corners;  // weights per sample; dots [kSlab][units * share]
    Unit* units;
    float* along;  // per sample: gradient along the blend of its pixels
    float* mean;   // per unit
  };

  DCNV3_DEVICE static void run(const Args& args, Block& block) {
    const Geometry& g = args.g;
    const int points = points_of<POINTS>(g), share = CHANNELS > 0 ? CHANNELS / LANES : args.share;
    Tile tile;
    tile.samples = block.take<Sample>(g.units() * points);
    tile.corners = block.take<Corners>(g.units() * corners_per_unit(points, share));
    tile.units = block.take<Unit>(g.units());
    tile.along = block.take<float>(g.units() * points);
    tile.mean = block.take<float>(g.units());

    Sample* samples = tile.samples;
    Corners* weights = (args.parts & kInput) != 0 ? tile.corners : nullptr;
    const auto mask_of = [&](int s) -> float& { return samples[s].mask; };
    stage_units(block, g, tile.units);
    stage_softmax<POINTS>(block, g, tile.units, mask_of);
    stage_samples<POINTS>(block, g, tile.units, mask_of, [&](int s, const Sample& sample) {
      samples[s] = sample;
      if (weights != nullptr) weights[s] = corners_of(g.map, sample, sample.mask);
    });

    if ((args.parts & kBound) != 0) bound(args, block, tile);
    if ((args.parts & kInput) != 0) add_to_input(args, block, tile);
    if ((args.parts & kSamples) != 0) {
      for (int from = 0; from < points; from += kSlab) {
        dot_slab(args, block, tile, from, share);
        finish_slab(args, block, tile, from, share);
      }
      finish_units(args, block, tile);
      write_samples(args, block, tile);
    }
  }

  // Raises the bound of the sums to the largest number this tile can add.
  DCNV3_DEVICE static void bound(const Args& args, const Block& block, const Tile& tile) {
    const Geometry& g = args.g;
    const int points = points_of<POINTS>(g), channels = channels_of<CHANNELS>(g);
    block.each([&](int thread) {
      for (int u = thread; u < g.units(); u += block.threads()) {
        const Unit& unit = tile.units[u];
        tile.mean[u] = 0;
        if (unit.number < 0) continue;
        float gradient = 0, mask = 0;
        for (int c = 0; c < channels; ++c)
          gradient = largest(gradient, to_float(args.gradient[unit.number * channels + c]));
        for (int k = 0; k < points; ++k) mask = largest(mask, tile.samples[u * points + k].mask);
        float most = product(product(gradient, unit.keep), mask);
        if (g.gate.data != nullptr) most = largest(most, product(gradient, read(g.gate, unit.number)));
        tile.mean[u] = most;
      }
    });
    block.each([&](int thread) {
      if (thread > 0) return;
      float most = 0;
      for (int u = 0; u < g.units(); ++u) most = largest(most, tile.mean[u]);
      args.sums.raise_bound(block, most);
    });
  }

  // One thread per unit and channel: neighbours add to neighbouring addresses.
  DCNV3_DEVICE static void add_to_input(const Args& args, const Block& block, const Tile& tile) {
    const Geometry& g = args.g;
    const int points = points_of<POINTS>(g), channels = channels_of<CHANNELS>(g);
    const std::int64_t image = image_of(g, block.index());
    const int shift = args.sums.shift();
    block.each([&](int thread) {
      for (int item = thread; item < g.units() * channels; item += block.threads()) {
        const int u = item / channels, c = item - u * channels;
        const Unit unit = tile.units[u];
        if (unit.number < 0) continue;
        const std::int64_t at = unit.number * channels + c, base = image + std::int64_t{unit.group} * channels + c;
        const float gradient = to_float(args.gradient[at]), kept = gradient * unit.keep;
        if (g.gate.data != nullptr) args.sums.add(block, at, gradient * read(g.gate, unit.number), shift);
        DCNV3_UNROLL_BY(1)
        for (int k = 0; k < points; ++k) {
          const Corners w = tile.corners[u * points + k];
          const std::int64_t p = base + tile.samples[u * points + k].first * g.pixel;
          // Far samples, and all but one pixel of a sample on a pixel's centre, cost nothing. NaN is not 0.
          if (w.w00 != 0) args.sums.add(block, p, kept * w.w00, shift);
          if (w.w01 != 0) args.sums.add(block, p + g.right, kept * w.w01, shift);
          if (w.w10 != 0) args.sums.add(block, p + g.down, kept * w.w10, shift);
          if (w.w11 != 0) args.sums.add(block, p + g.down + g.right, kept * w.w11, shift);
        }
      }
    });
  }

  // Dots of output gradient and pixels for the points from `from`, each thread over its own channels.
  DCNV3_DEVICE static void dot_slab(const Args& args, const Block& block, const Tile& tile, int from, int share) {
    const Geometry& g = args.g;
    const int points = points_of<POINTS>(g), channels = channels_of<CHANNELS>(g), items = g.units() * share;
    const T* image = static_cast<const T*>(g.input) + image_of(g, block.index());
    block.each([&](int thread) {
      for (int item = thread; item < items; item += block.threads()) {
        const int u = item / share;
        const Unit unit = tile.units[u];
        if (unit.number < 0) continue;
        Corners sum[kSlab] = {};
        for (int channel = (item - u * share) * LANES; channel < channels; channel += share * LANES) {
          float gradient[LANES];
          load<T, LANES>(args.gradient + unit.number * channels + channel, gradient);
          const T* base = image + std::int64_t{unit.group} * channels + channel;
          DCNV3_UNROLL
          for (int i = 0; i < kSlab; ++i) {
            if (!kWholeSlabs && from + i >= points) continue;
            const T* p = base + tile.samples[u * points + from + i].first * g.pixel;
            sum[i].w00 += dot<T, LANES>(p, gradient);
            sum[i].w01 += dot<T, LANES>(p + g.right, gradient);
            sum[i].w10 += dot<T, LANES>(p + g.down, gradient);
            sum[i].w11 += dot<T, LANES>(p + g.down + g.right, gradient);
          }
        }
        DCNV3_UNROLL
        for (int i = 0; i < kSlab; ++i) tile.corners[i * items + item] = sum[i];
      }
    });
  }

  // Adds up the dots of a unit in a fixed order; turns them into the gradients of positions, left in the samples.
  DCNV3_DEVICE static void finish_slab(const Args& args, const Block& block, const Tile& tile, int from, int share) {
    const Geometry& g = args.g;
    const int points = points_of<POINTS>(g), items = g.units() * share;
    block.each([&](int thread) {
      for (int item = thread; item < g.units() * kSlab; item += block.threads()) {
        const int u = item / kSlab, i = item - u * kSlab;
        if (tile.units[u].number < 0 || from + i >= points) continue;
        Corners d = {};
        for (int part = 0; part < share; ++part) {
          const Corners& more = tile.corners[i * items + u * share + part];
          d.w00 += more.w00;
          d.w01 += more.w01;
          d.w10 += more.w10;
          d.w11 += more.w11;
        }
        const int s = u * points + from + i;
        Sample& sample = tile.samples[s];
        const Blend blended = blend(g.map, sample, d);
        const float factor = sample.mask * g.scale * tile.units[u].keep;
        tile.along[s] = blended.value;
        sample.x = factor * blended.x;
        sample.y = factor * blended.y;
      }
    });
  }

  // Sums over the points of a unit: the gate's gradient, and what the softmax takes off.
  DCNV3_DEVICE static void finish_units(const Args& args, const Block& block, const Tile& tile) {
    const Geometry& g = args.g;
    if (!g.softmax && args.gate.data == nullptr) return;
    const int points = points_of<POINTS>(g), channels = channels_of<CHANNELS>(g);
    block.each([&](int thread) {
      for (int u = thread; u < g.units(); u += block.threads()) {
        const Unit& unit = tile.units[u];
        if (unit.number < 0) continue;
        float mean = 0;
        for (int s = u * points; s < (u + 1) * points; ++s) mean += tile.samples[s].mask * tile.along[s];
        tile.mean[u] = mean;
        if (args.gate.data == nullptr) continue;
        float center = 0;
        for (int c = 0; c < channels; ++c) {
          const std::int64_t at = unit.number * channels + c;
          center += to_float(args.gradient[at]) * to_float(static_cast<const T*>(g.input)[at]);
        }
        write(args.gate, unit.number, center - mean);
      }
    });
  }

  DCNV3_DEVICE static void write_samples(const Args& args, const Block& block, const Tile& tile) {
    const Geometry& g = args.g;
    const int points = points_of<POINTS>(g);
    block.each([&](int thread) {
      for (int s = thread; s < g.units() * points; s += block.threads()) {
        const int u = s / points;
        const Unit& unit = tile.units[u];
        if (unit.number < 0) continue;
        const std::int64_t at = unit.number * points + (s - u * points);
        const Sample& sample = tile.samples[s];
        if (args.mask.data != nullptr) {
          const float along = tile.along[s];
          write(args.mask, at, unit.keep * (g.softmax ? sample.mask * (along - tile.mean[u]) : along));
        }
        if (args.offset.data != nullptr) {
          write(args.offset, 2 * at, sample.x);
          write(args.offset, 2 * at + 1, sample.y);
        }
      }
    });
  }
};

}  // namespace cuda
}  // namespace dcnv3
