// Multi-scale deformable attention: where a tile of output samples, the arithmetic that every channel of a head shares.
//
// A unit is one head of one query. In the arrays, units follow each other as (image, query, head), and each has
// `samples` locations, by level and point, and `channels` numbers. A block works on a tile of consecutive units, and on
// a slab of their samples at a time: of all of them, unless there are many.
#pragma once

#include <cstdint>

#include "arrays.cuh"
#include "bilinear.cuh"
#include "dcnv3/msda_cuda.h"

namespace dcnv3 {
namespace cuda {
namespace msda {

struct Level {
  int start, width, height;
};

struct Geometry {
  const void* value;
  dcnv3_array location, weight;
  std::int64_t queries, units;
  std::int64_t pixel, image;  // steps from one pixel and image to the next, in numbers
  int heads, channels, points, samples;
  int softmax;
  int slab;           // samples of a unit that are worked on at once
  int tile_units;     // units of a block
  int parts;          // threads that share the softmax of a unit
  int channel_tiles;  // blocks that share the channels of a tile of units
  int tile_channels;  // channels of such a block
  Level level[DCNV3_MSDA_CUDA_MAX_LEVELS];
};

template <int CHANNELS>
DCNV3_DEVICE int channels_of(const Geometry& g) {
  return CHANNELS > 0 ? CHANNELS : g.channels;
}

struct Unit {
  std::int64_t number;  // -1: the last tile has no such unit
  std::int64_t base;    // its head's first number in its image
  float most, factor;   // of the softmax
  float mean;           // backward: what is summed over a unit's samples
};

// What samples of one number have in common, whatever their unit.
struct alignas(16) Slot {
  std::int64_t right, down;  // steps to the neighbours, in numbers; 0 where a level has but one column or row
  Level level;
};

// The largest of some logits, and the sum of exp(logit - most).
struct Share {
  float most, sum;
};

DCNV3_DEVICE void stage_units(const Block& block, const Geometry& g, Unit* units) {
  const std::int64_t first = block.index() / g.channel_tiles * g.tile_units;
  block.each([&](int thread) {
    for (int u = thread; u < g.tile_units; u += block.threads()) {
      const std::int64_t number = first + u, query = number / g.heads, head = number - query * g.heads;
      Unit unit = {};
      unit.number = number < g.units ? number : -1;
      unit.base = query / g.queries * g.image + head * g.channels;
      units[u] = unit;
    }
  });
}

// With DCNV3_SOFTMAX_MASK: finds `most` and `factor` of the units; `shares` has room for g.tile_units * g.parts.
DCNV3_DEVICE void stage_softmax(const Block& block, const Geometry& g, Unit* units, Share* shares) {
  if (!g.softmax) return;
  block.each([&](int thread) {
    for (int item = thread; item < g.tile_units * g.parts; item += block.threads()) {
      const int u = item / g.parts, part = item - u * g.parts;
      if (units[u].number < 0) continue;
      const std::int64_t from = units[u].number * g.samples;
      Share share = {-INFINITY, 0};
      for (int k = part; k < g.samples; k += g.parts) {
        const float logit = read(g.weight, from + k);
        share.most = logit > share.most ? logit : share.most;
      }
      // A logit of minus infinity has no weight, even where others of its share have none either.
      const float base = share.most > -INFINITY ? share.most : 0.0f;
      for (int k = part; k < g.samples; k += g.parts) share.sum += expf(read(g.weight, from + k) - base);
      shares[item] = share;
    }
  });
  block.each([&](int thread) {
    for (int u = thread; u < g.tile_units; u += block.threads()) {
      float most = -INFINITY, sum = 0;
      for (int i = u * g.parts; i < (u + 1) * g.parts; ++i) most = shares[i].most > most ? shares[i].most : most;
      for (int i = u * g.parts; i < (u + 1) * g.parts; ++i) sum += shares[i].sum * expf(shares[i].most - most);
      units[u].most = most;
      units[u].factor = 1 / sum;
    }
  });
}

DCNV3_DEVICE void stage_slots(const Block& block, const Geometry& g, int from, Slot* slots) {
  block.each([&](int thread) {
    for (int i = thread; i < g.slab && from + i < g.samples; i += block.threads()) {
      const Level level = g.level[(from + i) / g.points];
      slots[i] = {level.width > 1 ? g.pixel : 0, level.height > 1 ? g.pixel * level.width : 0, level};
    }
  });
}

// Attention weight of sample k of a unit.
DCNV3_DEVICE float attention(const Geometry& g, const Unit& unit, int k) {
  const float weight = read(g.weight, unit.number * g.samples + k);
  return g.softmax ? expf(weight - unit.most) * unit.factor : weight;
}

DCNV3_DEVICE Field field_of(const Slot& slot) { return cuda::field_of(slot.level.width, slot.level.height); }

// Calls `put(s, field, sample)` for the samples of the slab that begins with `from`; their numbers are
// s = unit * g.slab + k - from.
template <typename Put>
DCNV3_DEVICE void stage_samples(const Block& block, const Geometry& g, const Unit* units, const Slot* slots, int from,
                                const Put& put) {
  block.each([&](int thread) {
    for (int s = thread; s < g.tile_units * g.slab; s += block.threads()) {
      const int u = s / g.slab, i = s - u * g.slab, k = from + i;
      const Unit unit = units[u];
      if (unit.number < 0 || k >= g.samples) continue;
      const std::int64_t at = 2 * (unit.number * g.samples + k);
      const Field field = field_of(slots[i]);
      Sample sample = sample_at(field, read(g.location, at) * static_cast<float>(field.width) - 0.5f,
                                read(g.location, at + 1) * static_cast<float>(field.height) - 0.5f);
      sample.first += slots[i].level.start;
      sample.mask = attention(g, unit, k);
      put(s, field, sample);
    }
  });
}

}  // namespace msda
}  // namespace cuda
}  // namespace dcnv3
