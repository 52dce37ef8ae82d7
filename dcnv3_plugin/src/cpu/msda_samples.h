// Multi-scale deformable attention: positions and interpolation weights of a run of samples, the arithmetic that
// every channel of a head shares.
#pragma once

#include <cstdint>

#include "msda_call.h"
#include "vec.h"

namespace dcnv3 {
namespace DCNV3_ISA {
namespace msda {

// Numbers of samples worked on together: enough to fill vectors, few enough to stay in the first-level cache.
constexpr int kSamplesPerTile = 288;

inline float floor_of(float v) { return __builtin_floorf(v); }
inline double floor_of(double v) { return __builtin_floor(v); }
inline float fabs_of(float v) { return __builtin_fabsf(v); }
inline double fabs_of(double v) { return __builtin_fabs(v); }

// Weight of a pixel at this distance; 0 for a distance that is not a number.
template <typename A>
inline A hat(A distance) {
  const A w = 1 - fabs_of(distance);
  return w > 0 ? w : A(0);
}

// Interpolation weights of the two columns and two rows around a sample. A distance that is not a number makes all
// four not a number.
template <typename A>
struct Sides {
  A left, right, top, bottom;
  Sides(A x, A y, A second_x, A second_y) {
    const A unknown = (x == x ? A(0) : x) + (y == y ? A(0) : y);
    left = hat(x) + unknown;
    right = hat(x - 1) * second_x + unknown;
    top = hat(y) + unknown;
    bottom = hat(y - 1) * second_y + unknown;
  }
};

// Samples of one head and consecutive queries, as separate arrays: sample k belongs to query k / (levels * points),
// then level, then point. Each lies between two columns and two rows that are always inside its level: the first is
// limited to [0, size - 2] and a weight falls linearly to 0 at a distance of one pixel, so zeros around the level
// need no test. In a level of one row (column) the second weight is 0 and the step to it too.
template <typename A>
class Tile {
 public:
  explicit Tile(const MsdaCall& call)
      : first(size(call)), x(size(call)), y(size(call)), attention(size(call)), w00(size(call)), w01(size(call)),
        w10(size(call)), w11(size(call)), width(size(call)), height(size(call)), second_x(size(call)),
        second_y(size(call)), p_(call.p), samples_(call.samples), softmax_(call.softmax), queries_(tile_queries(call)),
        xy_(2 * size(call)), start_(size(call)) {
    if (!ok()) return;
    for (int k = 0; k < queries_ * samples_; ++k) {
      const int level = k % samples_ / p_.points;
      height[k] = static_cast<A>(p_.shapes[2 * level]);
      width[k] = static_cast<A>(p_.shapes[2 * level + 1]);
      second_y[k] = height[k] > 1 ? 1 : 0;
      second_x[k] = width[k] > 1 ? 1 : 0;
      start_[k] = static_cast<std::int32_t>(p_.starts[level]);
    }
  }

  // Whether there was memory for it; if not, nothing else may be called.
  bool ok() const {
    return first.ok() && x.ok() && y.ok() && attention.ok() && w00.ok() && w01.ok() && w10.ok() && w11.ok() &&
           width.ok() && height.ok() && second_x.ok() && second_y.ok() && xy_.ok() && start_.ok();
  }

  // Queries of a full tile.
  int queries() const { return queries_; }

  // Reads locations and weights of `count` queries from `query` on, of one image and head.
  void load(const dcnv3_msda_tensors& in, std::int64_t image, std::int64_t query, int count, int head) {
    const std::int64_t from = ((image * p_.queries + query) * p_.heads + head) * samples_;
    read(in.location, 2 * from, 2 * samples_, count, xy_.data());
    read(in.weight, from, samples_, count, attention.data());
    if (softmax_) softmax(count);
    weigh(count * samples_);
  }

  // Per sample: number of the upper left of its four pixels in the image; distance from that pixel's column and row,
  // from below 0 to above 1; attention weight; and the products of this with the interpolation weights.
  Buffer<std::int32_t> first;
  Buffer<A> x, y, attention, w00, w01, w10, w11;
  // Of the sample's level, whatever the query: size, and 1 where there is a second column or row, else 0.
  Buffer<A> width, height, second_x, second_y;

 private:
  static int tile_queries(const MsdaCall& call) {
    return call.samples >= kSamplesPerTile ? 1 : kSamplesPerTile / call.samples;
  }
  static std::size_t size(const MsdaCall& call) { return static_cast<std::size_t>(tile_queries(call)) * call.samples; }

  template <typename T>
  void copy(const void* data, std::int64_t from, int length, int count, A* out) const {
    const std::int64_t step = static_cast<std::int64_t>(length) * p_.heads;
    const T* start = static_cast<const T*>(data) + from;
    for (int i = 0; i < count; ++i)
      for (int k = 0; k < length; ++k) out[i * length + k] = static_cast<A>(to_float(start[i * step + k]));
  }

  void read(const dcnv3_array& array, std::int64_t from, int length, int count, A* out) const {
    if (array.type == DCNV3_F32) copy<float>(array.data, from, length, count, out);
    if (array.type == DCNV3_F64) copy<double>(array.data, from, length, count, out);
    if (array.type == DCNV3_BF16) copy<bf16>(array.data, from, length, count, out);
  }

  void softmax(int count) {
    A* values = attention.data();
    const int all = count * samples_;
    for (int i = 0; i < all; i += samples_) {
      A most = values[i];
      for (int k = 1; k < samples_; ++k) most = values[i + k] > most ? values[i + k] : most;
      for (int k = 0; k < samples_; ++k) values[i + k] -= most;
    }
    for (int k = 0; k < all; ++k) values[k] = exponential(values[k]);
    for (int i = 0; i < all; i += samples_) {
      A sum = 0;
      for (int k = 0; k < samples_; ++k) sum += values[i + k];
      const A factor = 1 / sum;
      for (int k = 0; k < samples_; ++k) values[i + k] *= factor;
    }
  }

  void weigh(int size) {
    const A *xy = xy_.data(), *weights = attention.data(), *widths = width.data(), *heights = height.data();
    const A *seconds_x = second_x.data(), *seconds_y = second_y.data();
    const std::int32_t* starts = start_.data();
    A* __restrict xs = x.data();
    A* __restrict ys = y.data();
    A* __restrict c00 = w00.data();
    A* __restrict c01 = w01.data();
    A* __restrict c10 = w10.data();
    A* __restrict c11 = w11.data();
    std::int32_t* __restrict firsts = first.data();
    // All arrays are apart: without this word the compiler tests that, gives up, and takes samples one by one.
#pragma omp simd
    for (int k = 0; k < size; ++k) {
      const A w = widths[k], h = heights[k];
      const A at_x = xy[2 * k] * w - A(0.5), at_y = xy[2 * k + 1] * h - A(0.5);
      // Comparisons with NaN are false: a NaN gets a pixel inside the level, and its distance stays a NaN.
      A px = at_x > A(-1) ? at_x : A(-1), py = at_y > A(-1) ? at_y : A(-1);
      px = px < w ? px : w;
      py = py < h ? py : h;
      const A last_x = w - 1 - seconds_x[k], last_y = h - 1 - seconds_y[k];
      A fx = floor_of(px), fy = floor_of(py);
      fx = fx > 0 ? (fx < last_x ? fx : last_x) : A(0);
      fy = fy > 0 ? (fy < last_y ? fy : last_y) : A(0);
      firsts[k] = starts[k] + static_cast<std::int32_t>(fy) * static_cast<std::int32_t>(w) +
                  static_cast<std::int32_t>(fx);
      xs[k] = at_x == at_x ? px - fx : at_x;
      ys[k] = at_y == at_y ? py - fy : at_y;
      const Sides<A> s(xs[k], ys[k], seconds_x[k], seconds_y[k]);
      const A top = s.top * weights[k], bottom = s.bottom * weights[k];
      c00[k] = top * s.left;
      c01[k] = top * s.right;
      c10[k] = bottom * s.left;
      c11[k] = bottom * s.right;
    }
  }

  const dcnv3_msda_params p_;
  const int samples_;
  const bool softmax_;
  const int queries_;
  Buffer<A> xy_;
  Buffer<std::int32_t> start_;
};

// Steps between neighbours in each level of an array of pixels, in numbers; 0 where a level has but one row or column.
class Steps {
 public:
  Steps(const MsdaCall& call, std::int64_t pixel_step)
      : pixel(pixel_step), right(call.p.levels), down(call.p.levels) {
    for (int l = 0; ok() && l < call.p.levels; ++l) {
      right[l] = call.p.shapes[2 * l + 1] > 1 ? pixel : 0;
      down[l] = call.p.shapes[2 * l] > 1 ? pixel * call.p.shapes[2 * l + 1] : 0;
    }
  }
  bool ok() const { return right.ok() && down.ok(); }

  const std::int64_t pixel;
  Buffer<std::int64_t> right, down;
};

}  // namespace msda
}  // namespace DCNV3_ISA
}  // namespace dcnv3
