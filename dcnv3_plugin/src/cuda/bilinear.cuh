// A sample between the four pixels around it, and how its value changes with its position: what operators share.
#pragma once

#include "device.cuh"

namespace dcnv3 {
namespace cuda {

// A map in which samples lie.
struct Field {
  int width, height;
  float last_x, last_y;      // the last column and row a sample's first pixel may lie in
  float second_x, second_y;  // 0 where a map has but one column or row, else 1
};

DCNV3_BOTH Field field_of(int width, int height) {
  return {width, height, static_cast<float>(width > 1 ? width - 2 : 0), static_cast<float>(height > 1 ? height - 2 : 0),
          width > 1 ? 1.0f : 0.0f, height > 1 ? 1.0f : 0.0f};
}

// A sample between columns and rows that are always inside the map: (x, y) is the position from the first of them,
// from -1 to 2, or not a number. A weight falls linearly to 0 at a distance of one pixel, so zeros around the map
// need no test.
struct alignas(16) Sample {
  int first;  // number of the upper left pixel
  float x, y, mask;
};

// Weights of a sample's four pixels, or sums over channels of gradient times each of them.
struct alignas(16) Corners {
  float w00, w01, w10, w11;
};

// The sample at (x, y), in pixels, without its mask.
DCNV3_DEVICE Sample sample_at(const Field& map, float x, float y) {
  // Comparisons with NaN are false: a NaN gets a pixel inside the map.
  const float width = static_cast<float>(map.width), height = static_cast<float>(map.height);
  float px = x > -1 ? x : -1.0f, py = y > -1 ? y : -1.0f;
  px = px < width ? px : width;
  py = py < height ? py : height;
  float fx = floorf(px), fy = floorf(py);
  fx = fx > 0 ? (fx < map.last_x ? fx : map.last_x) : 0.0f;
  fy = fy > 0 ? (fy < map.last_y ? fy : map.last_y) : 0.0f;
  Sample s;
  s.first = static_cast<int>(fy) * map.width + static_cast<int>(fx);
  s.x = x == x ? px - fx : x;
  s.y = y == y ? py - fy : y;
  s.mask = 0;
  return s;
}

// A NaN stays one.
DCNV3_DEVICE float hat(float distance) {
  const float w = 1 - fabsf(distance);
  return w < 0 ? 0.0f : w;
}

struct Sides {
  float left, right, top, bottom;
};

DCNV3_DEVICE Sides sides_of(const Field& map, const Sample& s) {
  return {hat(s.x), hat(s.x - 1) * map.second_x, hat(s.y), hat(s.y - 1) * map.second_y};
}

DCNV3_DEVICE Corners corners_of(const Field& map, const Sample& s, float factor) {
  const Sides side = sides_of(map, s);
  const float top = side.top * factor, bottom = side.bottom * factor;
  return {top * side.left, top * side.right, bottom * side.left, bottom * side.right};
}

// Slope of the weight of the first (second) neighbour with the position. At pixel centres, where every sample of
// a fresh layer lies, it is the derivative to the right, as in the operators' publications.
DCNV3_DEVICE float first_slope(float d) { return d > -1 && d < 0 ? 1.0f : (d >= 0 && d < 1 ? -1.0f : 0.0f); }
DCNV3_DEVICE float second_slope(float d) { return d >= -1 && d < 0 ? 1.0f : (d >= 0 && d < 1 ? -1.0f : 0.0f); }

// Of a blend of four numbers: its value, and its derivatives with the sample's position.
struct Blend {
  float value, x, y;
};

DCNV3_DEVICE Blend blend(const Field& map, const Sample& s, const Corners& d) {
  const Sides side = sides_of(map, s);
  // 0, or not a number where the position is none.
  const float unknown = (s.x - s.x) + (s.y - s.y);
  const float sx0 = first_slope(s.x), sx1 = second_slope(s.x - 1) * map.second_x;
  const float sy0 = first_slope(s.y), sy1 = second_slope(s.y - 1) * map.second_y;
  const float upper = side.left * d.w00 + side.right * d.w01, lower = side.left * d.w10 + side.right * d.w11;
  const float across = side.top * (sx0 * d.w00 + sx1 * d.w01) + side.bottom * (sx0 * d.w10 + sx1 * d.w11);
  return {side.top * upper + side.bottom * lower, across + unknown, sy0 * upper + sy1 * lower + unknown};
}

}  // namespace cuda
}  // namespace dcnv3
