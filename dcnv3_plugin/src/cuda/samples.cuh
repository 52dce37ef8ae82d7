// Where a tile of output samples: units, positions and masks, the arithmetic that every channel of a group shares.
//
// A unit is one group of one output pixel. In the arrays, units follow each other as (image, row, column, group), and
// each has `points` samples and `channels` numbers. A block works on a tile: some groups of a rectangle of pixels,
// so that what neighbouring pixels read of the input is read from the cache.
#pragma once

#include <cstdint>

#include "arrays.cuh"
#include "bilinear.cuh"

namespace dcnv3 {
namespace cuda {

struct Geometry {
  const void* input;
  dcnv3_array offset, mask, gate;
  std::int64_t batch, out_height, out_width;
  std::int64_t stride_h, stride_w, pad_h, pad_w;
  std::int64_t pixel, right, down;  // steps in the input, in numbers; 0 where a map has but one column or row
  Field map;  // of the input
  int group, channels, points;
  int kernel_h, kernel_w, dilation_h, dilation_w, center_y, center_x;
  int removed;  // the tap that is no point, or -1
  int softmax;
  float scale;
  int tile_groups, tile_width, tile_height;
  int group_tiles;
  std::int64_t columns, rows;  // tiles in one image

  DCNV3_BOTH int units() const { return tile_groups * tile_width * tile_height; }
};

// Number of points and channels, known to the compiler where the kernel is specialised.
template <int POINTS>
DCNV3_DEVICE int points_of(const Geometry& g) {
  return POINTS > 0 ? POINTS : g.points;
}
template <int CHANNELS>
DCNV3_DEVICE int channels_of(const Geometry& g) {
  return CHANNELS > 0 ? CHANNELS : g.channels;
}

struct Unit {
  std::int64_t number;  // -1: the tile reaches over the border of map or groups here
  int group;
  float x, y;  // of the grid's centre in the input
  float keep;  // 1 - gate
};

// First number of the image that a block works on.
DCNV3_DEVICE std::int64_t image_of(const Geometry& g, std::int64_t block) {
  return block / (g.group_tiles * g.columns * g.rows) * g.map.height * g.map.width * g.pixel;
}

DCNV3_DEVICE void stage_units(const Block& block, const Geometry& g, Unit* units) {
  std::int64_t rest = block.index();
  const int first_group = static_cast<int>(rest % g.group_tiles) * g.tile_groups;
  rest /= g.group_tiles;
  const std::int64_t first_column = rest % g.columns * g.tile_width;
  rest /= g.columns;
  const std::int64_t first_row = rest % g.rows * g.tile_height, image = rest / g.rows;
  block.each([&](int thread) {
    for (int u = thread; u < g.units(); u += block.threads()) {
      const int pixel = u / g.tile_groups, tile_row = pixel / g.tile_width;
      Unit unit;
      unit.group = first_group + (u - pixel * g.tile_groups);
      const std::int64_t column = first_column + (pixel - tile_row * g.tile_width), row = first_row + tile_row;
      const bool inside = unit.group < g.group && column < g.out_width && row < g.out_height;
      unit.number = inside ? ((image * g.out_height + row) * g.out_width + column) * g.group + unit.group : -1;
      unit.x = static_cast<float>(column * g.stride_w - g.pad_w + g.center_x);
      unit.y = static_cast<float>(row * g.stride_h - g.pad_h + g.center_y);
      unit.keep = inside && g.gate.data != nullptr ? 1 - read(g.gate, unit.number) : 1.0f;
      units[u] = unit;
    }
  });
}

// With DCNV3_SOFTMAX_MASK: puts the masks of all samples where `slot` says, the softmax of the logits.
template <int POINTS, typename Slot>
DCNV3_DEVICE void stage_softmax(const Block& block, const Geometry& g, const Unit* units, const Slot& slot) {
  if (!g.softmax) return;
  const int points = points_of<POINTS>(g), count = g.units();
  block.each([&](int thread) {
    for (int s = thread; s < count * points; s += block.threads()) {
      const int u = s / points;
      if (units[u].number >= 0) slot(s) = read(g.mask, units[u].number * points + (s - u * points));
    }
  });
  block.each([&](int thread) {
    for (int u = thread; u < count; u += block.threads()) {
      if (units[u].number < 0) continue;
      const int from = u * points, to = from + points;
      float most = slot(from), sum = 0;
      for (int s = from + 1; s < to; ++s) most = slot(s) > most ? slot(s) : most;
      for (int s = from; s < to; ++s) sum += slot(s) = expf(slot(s) - most);
      const float factor = 1 / sum;
      for (int s = from; s < to; ++s) slot(s) *= factor;
    }
  });
}

// Sample k of a unit, without its mask. The points are counted down the grid's columns.
template <int POINTS>
DCNV3_DEVICE Sample locate(const Geometry& g, const Unit& unit, int k) {
  const int kernel_h = POINTS == 9 ? 3 : (POINTS == 25 ? 5 : g.kernel_h);
  const int tap = k + (POINTS == 0 && g.removed >= 0 && k >= g.removed ? 1 : 0);
  const int column = tap / kernel_h, row = tap - column * kernel_h;
  const std::int64_t at = 2 * (unit.number * points_of<POINTS>(g) + k);
  const float grid_x = static_cast<float>(column * g.dilation_w - g.center_x) * g.scale;
  const float grid_y = static_cast<float>(row * g.dilation_h - g.center_y) * g.scale;
  const float x = unit.x + (grid_x + g.scale * read(g.offset, at));
  const float y = unit.y + (grid_y + g.scale * read(g.offset, at + 1));
  return sample_at(g.map, x, y);
}

// Calls `put(s, sample)` for every sample of the tile.
template <int POINTS, typename Slot, typename Put>
DCNV3_DEVICE void stage_samples(const Block& block, const Geometry& g, const Unit* units, const Slot& slot,
                                const Put& put) {
  const int points = points_of<POINTS>(g);
  block.each([&](int thread) {
    for (int s = thread; s < g.units() * points; s += block.threads()) {
      const int u = s / points, k = s - u * points;
      const Unit unit = units[u];
      if (unit.number < 0) continue;
      const float mask = g.softmax ? slot(s) : read(g.mask, unit.number * points + k);
      Sample sample = locate<POINTS>(g, unit, k);
      sample.mask = mask;
      put(s, sample);
    }
  });
}

}  // namespace cuda
}  // namespace dcnv3
