// Positions and bilinear weights of a run of samples: the arithmetic that every channel of a group shares.
#pragma once

#include <cstdint>

#include "call.h"
#include "vec.h"

namespace dcnv3 {
namespace DCNV3_ISA {

// Numbers of samples worked on together: enough to fill vectors, few enough to stay in the first-level cache.
constexpr int kSamplesPerTile = 288;

// Samples of one group at consecutive output pixels of one row, as separate arrays. Sample k belongs to pixel
// k / points and point k % points. Each lies between two columns and two rows that are always inside the map:
// the first is limited to [0, size - 2] and a weight falls linearly to 0 at a distance of one pixel, so zeros
// around the map need no test. On a map of one row (column) the second weight is 0 and the step to it too.
template <typename A>
class Tile {
 public:
  explicit Tile(const Call& call)
      : first(tile_size(call)), x(tile_size(call)), y(tile_size(call)), mask(tile_size(call)), left(tile_size(call)),
        right(tile_size(call)), top(tile_size(call)), bottom(tile_size(call)), p_(call.p), points_(call.points),
        softmax_(call.softmax), pixels_(tile_pixels(call)), grid_x_(tile_size(call)), grid_y_(tile_size(call)),
        column_(tile_size(call)), xy_(2 * tile_size(call)) {
    if (!ok()) return;
    const A scale = static_cast<A>(p_.offset_scale);
    const int center_y = p_.dilation_h * (p_.kernel_h - 1) / 2, center_x = p_.dilation_w * (p_.kernel_w - 1) / 2;
    const int middle = call.removes_center ? p_.kernel_h * p_.kernel_w / 2 : -1;
    int point = 0;
    for (int tap = 0; tap < p_.kernel_h * p_.kernel_w; ++tap) {
      if (tap == middle) continue;
      grid_x_[point] = static_cast<A>(tap / p_.kernel_h * p_.dilation_w - center_x) * scale;
      grid_y_[point++] = static_cast<A>(tap % p_.kernel_h * p_.dilation_h - center_y) * scale;
    }
    for (int k = 0; k < pixels_ * points_; ++k) {
      grid_x_[k] = grid_x_[k % points_];
      grid_y_[k] = grid_y_[k % points_];
      column_[k] = static_cast<A>(std::int64_t{p_.stride_w} * (k / points_));
    }
    center_x_ = center_x;
    center_y_ = center_y;
  }

  // Whether there was memory for it; if not, nothing else may be called.
  bool ok() const {
    return first.ok() && x.ok() && y.ok() && mask.ok() && left.ok() && right.ok() && top.ok() && bottom.ok() &&
           grid_x_.ok() && grid_y_.ok() && column_.ok() && xy_.ok();
  }

  // Output pixels of a full tile.
  int pixels() const { return pixels_; }

  // Reads offsets and masks of `count` pixels from (row, column) of an image; computes first and weights.
  // `group` selects the group; pointers are those of the whole arrays.
  void load(const dcnv3_tensors& in, std::int64_t image, std::int64_t row, std::int64_t column, int count, int group) {
    const std::int64_t pixel = (image * p_.out_height + row) * p_.out_width + column;
    read(in.offset, 2 * (pixel * p_.group + group) * points_, 2 * points_, count, xy_.data());
    read(in.mask, (pixel * p_.group + group) * points_, points_, count, mask.data());
    if (softmax_ && points_ == 9) {
      softmax<9>(count);
    } else if (softmax_ && points_ == 25) {
      softmax<25>(count);
    } else if (softmax_) {
      softmax<0>(count);
    }
    weigh(count * points_, static_cast<A>(column * p_.stride_w - p_.pad_w + center_x_),
          static_cast<A>(row * p_.stride_h - p_.pad_h + center_y_));
  }

  // Per sample: number of the upper left of its four pixels, and the weights of columns and rows.
  Buffer<std::int32_t> first;
  Buffer<A> x, y;  // after `load`: distance from the first column and row, from below 0 to above 1
  Buffer<A> mask, left, right, top, bottom;

 private:
  static int tile_pixels(const Call& call) {
    return call.points >= kSamplesPerTile ? 1 : kSamplesPerTile / call.points;
  }
  static std::size_t tile_size(const Call& call) { return static_cast<std::size_t>(tile_pixels(call)) * call.points; }

  template <typename T>
  static void copy(const void* data, std::int64_t start, std::int64_t step, int length, int count, A* out) {
    const T* from = static_cast<const T*>(data) + start;
    for (int i = 0; i < count; ++i)
      for (int k = 0; k < length; ++k) out[i * length + k] = static_cast<A>(to_float(from[i * step + k]));
  }

  void read(const dcnv3_array& array, std::int64_t start, int length, int count, A* out) const {
    const std::int64_t step = static_cast<std::int64_t>(length) * p_.group;
    if (array.type == DCNV3_F32) copy<float>(array.data, start, step, length, count, out);
    if (array.type == DCNV3_F64) copy<double>(array.data, start, step, length, count, out);
    if (array.type == DCNV3_BF16) copy<bf16>(array.data, start, step, length, count, out);
  }

  // Over the points of each pixel, P of them where that is not 0: the loops of common kernels are unrolled.
  template <int P>
  void softmax(int count) {
    const int points = P > 0 ? P : points_;
    A* values = mask.data();
    for (int i = 0; i < count * points; i += points) {
      A most = values[i];
      for (int k = 1; k < points; ++k) most = values[i + k] > most ? values[i + k] : most;
      for (int k = 0; k < points; ++k) values[i + k] -= most;
    }
    for (int k = 0; k < count * points; ++k) values[k] = exponential(values[k]);
    for (int i = 0; i < count * points; i += points) {
      A sum = 0;
      for (int k = 0; k < points; ++k) sum += values[i + k];
      const A factor = 1 / sum;
      for (int k = 0; k < points; ++k) values[i + k] *= factor;
    }
  }

  // Positions and weights of the first samples; the base is where the first pixel's kernel has its centre.
  void weigh(int size, A base_x, A base_y) {
    const A scale = static_cast<A>(p_.offset_scale);
    const A width = static_cast<A>(p_.width), height = static_cast<A>(p_.height);
    const A last_x = static_cast<A>(p_.width > 1 ? p_.width - 2 : 0);
    const A last_y = static_cast<A>(p_.height > 1 ? p_.height - 2 : 0);
    const A second_x = p_.width > 1 ? 1 : 0, second_y = p_.height > 1 ? 1 : 0;
    const std::int32_t row_pixels = static_cast<std::int32_t>(p_.width);
    const A *xy = xy_.data(), *grid_x = grid_x_.data(), *grid_y = grid_y_.data(), *columns = column_.data();
    A* __restrict xs = x.data();
    A* __restrict ys = y.data();
    A* __restrict lefts = left.data();
    A* __restrict rights = right.data();
    A* __restrict tops = top.data();
    A* __restrict bottoms = bottom.data();
    std::int32_t* __restrict firsts = first.data();
    // All arrays are apart: without this word the compiler tests that, gives up, and takes samples one by one.
#pragma omp simd
    for (int k = 0; k < size; ++k) {
      const A at_x = (base_x + columns[k]) + (grid_x[k] + scale * xy[2 * k]);
      const A at_y = base_y + (grid_y[k] + scale * xy[2 * k + 1]);
      // Comparisons with NaN are false: a NaN gets a pixel inside the map, and its weight stays a NaN.
      const A unknown = (at_x == at_x ? A(0) : at_x) + (at_y == at_y ? A(0) : at_y);
      A px = at_x > A(-1) ? at_x : A(-1), py = at_y > A(-1) ? at_y : A(-1);
      px = px < width ? px : width;
      py = py < height ? py : height;
      A fx = floor_of(px), fy = floor_of(py);
      fx = fx > 0 ? (fx < last_x ? fx : last_x) : A(0);
      fy = fy > 0 ? (fy < last_y ? fy : last_y) : A(0);
      firsts[k] = static_cast<std::int32_t>(fy) * row_pixels + static_cast<std::int32_t>(fx);
      px -= fx;
      py -= fy;
      xs[k] = px;
      ys[k] = py;
      lefts[k] = hat(px);
      rights[k] = hat(px - 1) * second_x;
      tops[k] = hat(py) + unknown;
      bottoms[k] = hat(py - 1) * second_y + unknown;
    }
  }

  static float floor_of(float v) { return __builtin_floorf(v); }
  static double floor_of(double v) { return __builtin_floor(v); }
  static float fabs_of(float v) { return __builtin_fabsf(v); }
  static double fabs_of(double v) { return __builtin_fabs(v); }

  static A hat(A distance) {
    const A w = 1 - fabs_of(distance);
    return w > 0 ? w : A(0);
  }

  const dcnv3_params p_;
  const int points_;
  const bool softmax_;
  const int pixels_;
  int center_x_ = 0, center_y_ = 0;
  Buffer<A> grid_x_, grid_y_, column_;  // of each sample: its point's place in the kernel, its pixel's in the tile
  Buffer<A> xy_;                        // offsets
};

}  // namespace DCNV3_ISA
}  // namespace dcnv3
