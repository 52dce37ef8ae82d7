// DCNv3 on the CPU. This file is compiled once per instruction set, with DCNV3_ISA naming its namespace and
// DCNV3_KERNELS the table it fills.
//
// A tile of samples of one group is prepared first (samples.h); what is left per sample is four loads and four
// multiply-adds per vector of channels. Forward work is shared out by rows. Backward work is shared out by image
// and group, between which gradients never meet: no atomics, no copies, the same bits for any number of threads.
#include <type_traits>

#include "call.h"
#include "samples.h"
#include "vec.h"

namespace dcnv3 {
namespace DCNV3_ISA {

// Distances between neighbours in an input map, in numbers; 0 where a map has but one row or column.
struct Steps {
  std::int64_t pixel, right, down;
  explicit Steps(const dcnv3_params& p)
      : pixel(std::int64_t{p.group} * p.group_channels), right(p.width > 1 ? pixel : 0),
        down(p.height > 1 ? pixel * p.width : 0) {}
};

// Weights of the four pixels of a sample, times `factor`.
template <typename A>
struct Corners {
  A w00, w01, w10, w11;
  Corners(const Tile<A>& t, int k, A factor) {
    const A top = t.top[k] * factor, bottom = t.bottom[k] * factor;
    w00 = top * t.left[k];
    w01 = top * t.right[k];
    w10 = bottom * t.left[k];
    w11 = bottom * t.right[k];
  }
};

// Output of one pixel and group, L channels: the sum over samples [from, from + points).
template <typename T, typename A, int L>
inline Vec<A, L> gather(const Tile<A>& tile, int from, int points, const T* base, const Steps& s) {
  using V = Vec<A, L>;
  V a = V::zero(), b = V::zero(), c = V::zero(), d = V::zero();
  for (int k = from; k < from + points; ++k) {
    const Corners<A> w(tile, k, tile.mask[k]);
    const T* p = base + tile.first[k] * s.pixel;
    a += V::load(p) * w.w00;
    b += V::load(p + s.right) * w.w01;
    c += V::load(p + s.down) * w.w10;
    d += V::load(p + s.down + s.right) * w.w11;
  }
  return (a + b) + (c + d);
}

template <typename T, typename A>
inline A gather_one(const Tile<A>& tile, int from, int points, const T* base, const Steps& s) {
  A sum = 0;
  for (int k = from; k < from + points; ++k) {
    const Corners<A> w(tile, k, tile.mask[k]);
    const T* p = base + tile.first[k] * s.pixel;
    sum += to_float(p[0]) * w.w00 + to_float(p[s.right]) * w.w01 + to_float(p[s.down]) * w.w10 +
           to_float(p[s.down + s.right]) * w.w11;
  }
  return sum;
}

inline double read_one(const dcnv3_array& array, std::int64_t at) {
  if (array.type == DCNV3_F64) return static_cast<const double*>(array.data)[at];
  if (array.type == DCNV3_BF16) return to_float(static_cast<const bf16*>(array.data)[at]);
  return static_cast<const float*>(array.data)[at];
}

inline void write_one(const dcnv3_array& array, std::int64_t at, double value) {
  if (array.type == DCNV3_F64) static_cast<double*>(array.data)[at] = value;
  if (array.type == DCNV3_BF16) from_float(static_cast<float>(value), static_cast<bf16*>(array.data)[at]);
  if (array.type == DCNV3_F32) static_cast<float*>(array.data)[at] = static_cast<float>(value);
}

// One pixel and group of the output: samples [from, from + points) of the tile, blended with the centre.
template <typename T, typename A, int L, int C>
void forward_pixel(const Call& call, const Tile<A>& tile, int from, const T* base, const Steps& s, std::int64_t pixel,
                   int group) {
  const int channels = C > 0 ? C : call.p.group_channels;
  const std::int64_t at = pixel * s.pixel + std::int64_t{group} * channels;
  T* out = static_cast<T*>(call.output.data) + at;
  const T* center = static_cast<const T*>(call.in.input.data) + at;
  const bool blend = call.in.gate.data != nullptr;
  const A gate = blend ? static_cast<A>(read_one(call.in.gate, pixel * call.p.group + group)) : A(0);
  int c = 0;
  for (; c + L <= channels; c += L) {
    auto sum = gather<T, A, L>(tile, from, call.points, base + c, s);
    if (blend) sum = sum * (1 - gate) + Vec<A, L>::load(center + c) * gate;
    sum.store(out + c);
  }
  for (; c < channels; ++c) {
    A sum = gather_one<T, A>(tile, from, call.points, base + c, s);
    if (blend) sum = sum * (1 - gate) + to_float(center[c]) * gate;
    from_float(sum, out[c]);
  }
}

template <typename T, typename A, int L, int C>
int forward_channels(const Call& call) {
  const dcnv3_params& p = call.p;
  const Steps steps(p);
  const int channels = C > 0 ? C : p.group_channels;
  const std::int64_t rows = p.batch * p.out_height;
  int status = DCNV3_OK;
#pragma omp parallel num_threads(call.threads)
  {
    Tile<A> tile(call);
    const bool ok = tile.ok();
    if (!ok) {
#pragma omp atomic write
      status = DCNV3_OUT_OF_MEMORY;
    }
#pragma omp for schedule(static)
    for (std::int64_t row = 0; row < rows; ++row) {
      if (!ok) continue;
      const std::int64_t image = row / p.out_height, y = row % p.out_height;
      const T* map = static_cast<const T*>(call.in.input.data) + image * p.height * p.width * steps.pixel;
      for (std::int64_t x = 0; x < p.out_width; x += tile.pixels()) {
        const int count = static_cast<int>(least<std::int64_t>(tile.pixels(), p.out_width - x));
        for (int group = 0; group < p.group; ++group) {
          tile.load(call.in, image, y, x, count, group);
          const T* base = map + std::int64_t{group} * channels;
          for (int i = 0; i < count; ++i)
            forward_pixel<T, A, L, C>(call, tile, i * call.points, base, steps, row * p.out_width + x + i, group);
        }
      }
    }
  }
  return status;
}

#include "dcnv3_backward.inc"

// Chooses vectors of 16, 8 or 4 channels, and fixed widths where they are common (16 in T to XL, 32 in H and G).
template <typename T, typename A, template <typename, typename, int, int> class Pass>
int by_channels(const Call& call) {
  const int channels = call.p.group_channels;
  if (channels == 16) return Pass<T, A, 16, 16>::run(call);
  if (channels == 32) return Pass<T, A, 16, 32>::run(call);
  if (channels >= 16) return Pass<T, A, 16, 0>::run(call);
  if (channels >= 8) return Pass<T, A, 8, 0>::run(call);
  return Pass<T, A, 4, 0>::run(call);
}

template <template <typename, typename, int, int> class Pass>
int by_type(const Call& call) {
  switch (call.in.input.type) {
    case DCNV3_F32: return by_channels<float, float, Pass>(call);
    case DCNV3_F64: return by_channels<double, double, Pass>(call);
    case DCNV3_BF16: return by_channels<bf16, float, Pass>(call);
    default: return DCNV3_UNSUPPORTED;
  }
}

template <typename T, typename A, int L, int C>
struct Forward {
  static int run(const Call& call) { return forward_channels<T, A, L, C>(call); }
};
template <typename T, typename A, int L, int C>
struct Backward {
  static int run(const Call& call) { return backward_channels<T, A, L, C>(call); }
};

int forward(const Call& call) { return by_type<Forward>(call); }
int backward(const Call& call) { return by_type<Backward>(call); }

}  // namespace DCNV3_ISA

extern const Kernels DCNV3_KERNELS = {DCNV3_KERNELS_NAME, DCNV3_ISA::forward, DCNV3_ISA::backward};

}  // namespace dcnv3
