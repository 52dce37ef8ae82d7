// Multi-scale deformable attention on the CPU. This file is compiled once per instruction set, with DCNV3_ISA naming
// its namespace.
//
// A tile of samples of one head is prepared first (msda_samples.h); what is left per sample is four loads and four
// multiply-adds per vector of channels. Forward work is shared out by tiles of queries. Backward work is shared out
// by image and head, between which gradients never meet: no atomics, no copies, the same bits for any number of
// threads.
#include <type_traits>

#include "msda_call.h"
#include "msda_samples.h"
#include "vec.h"

namespace dcnv3 {
namespace DCNV3_ISA {
namespace msda {

// Lanes of the machine's vectors.
#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
#else
constexpr int kVectorBytes = 16;
#endif
template <typename A>
constexpr int kLanes = kVectorBytes / static_cast<int>(sizeof(A));

// N vectors of channels of one query and head: the sum over its samples, from `k` on. The four neighbours have sums of
// their own, so that no multiply-add waits for the one before.
template <typename T, typename A, int L, int N>
inline void gather(const MsdaCall& call, const Tile<A>& tile, int k, const Steps& steps, const T* base, T* out) {
  using V = Vec<A, L>;
  V a[N], b[N], c[N], d[N];
  for (int n = 0; n < N; ++n) a[n] = b[n] = c[n] = d[n] = V::zero();
  for (int level = 0; level < call.p.levels; ++level) {
    const std::int64_t right = steps.right[level], down = steps.down[level];
    for (const int end = k + call.p.points; k < end; ++k) {
      const T* p = base + tile.first[k] * steps.pixel;
      const A w00 = tile.w00[k], w01 = tile.w01[k], w10 = tile.w10[k], w11 = tile.w11[k];
      for (int n = 0; n < N; ++n) {
        a[n] += V::load(p + n * L) * w00;
        b[n] += V::load(p + right + n * L) * w01;
        c[n] += V::load(p + down + n * L) * w10;
        d[n] += V::load(p + down + right + n * L) * w11;
      }
    }
  }
  for (int n = 0; n < N; ++n) ((a[n] + b[n]) + (c[n] + d[n])).store(out + n * L);
}

template <typename T, typename A>
inline void gather_one(const MsdaCall& call, const Tile<A>& tile, int k, const Steps& steps, const T* base, T* out) {
  A sum = 0;
  for (int level = 0; level < call.p.levels; ++level) {
    const std::int64_t right = steps.right[level], down = steps.down[level];
    for (const int end = k + call.p.points; k < end; ++k) {
      const T* p = base + tile.first[k] * steps.pixel;
      sum += to_float(p[0]) * tile.w00[k] + to_float(p[right]) * tile.w01[k] + to_float(p[down]) * tile.w10[k] +
             to_float(p[down + right]) * tile.w11[k];
    }
  }
  from_float(sum, *out);
}

template <typename T, typename A>
int forward_type(const MsdaCall& call) {
  const dcnv3_msda_params& p = call.p;
  constexpr int L = kLanes<A>;
  const std::int64_t pixel = std::int64_t{p.heads} * p.channels;
  int status = DCNV3_OK;
#pragma omp parallel num_threads(call.threads)
  {
    Tile<A> tile(call);
    const Steps steps(call, pixel);
    const bool ok = tile.ok() && steps.ok();
    if (!ok) {
#pragma omp atomic write
      status = DCNV3_OUT_OF_MEMORY;
    }
    const std::int64_t tiles = (p.queries + tile.queries() - 1) / tile.queries();
#pragma omp for schedule(static)
    for (std::int64_t unit = 0; unit < p.batch * tiles; ++unit) {
      if (!ok) continue;
      const std::int64_t image = unit / tiles, query = unit % tiles * tile.queries();
      const int count = static_cast<int>(least<std::int64_t>(tile.queries(), p.queries - query));
      const T* values = static_cast<const T*>(call.in.value.data) + image * p.pixels * pixel;
      T* results = static_cast<T*>(call.output.data) + (image * p.queries + query) * pixel;
      for (int head = 0; head < p.heads; ++head) {
        tile.load(call.in, image, query, count, head);
        const T* base = values + std::int64_t{head} * p.channels;
        for (int i = 0; i < count; ++i) {
          T* out = results + i * pixel + std::int64_t{head} * p.channels;
          const int k = i * call.samples;
          int c = 0;
          for (; c + 2 * L <= p.channels; c += 2 * L) gather<T, A, L, 2>(call, tile, k, steps, base + c, out + c);
          for (; c + L <= p.channels; c += L) gather<T, A, L, 1>(call, tile, k, steps, base + c, out + c);
          for (; c + 4 <= p.channels; c += 4) gather<T, A, 4, 1>(call, tile, k, steps, base + c, out + c);
          for (; c < p.channels; ++c) gather_one<T, A>(call, tile, k, steps, base + c, out + c);
        }
      }
    }
  }
  return status;
}

#include "msda_backward.inc"

int forward(const MsdaCall& call) {
  switch (call.in.value.type) {
    case DCNV3_F32: return forward_type<float, float>(call);
    case DCNV3_F64: return forward_type<double, double>(call);
    case DCNV3_BF16: return forward_type<bf16, float>(call);
    default: return DCNV3_UNSUPPORTED;
  }
}

int backward(const MsdaCall& call) {
  switch (call.in.value.type) {
    case DCNV3_F32: return backward_type<float, float>(call);
    case DCNV3_F64: return backward_type<double, double>(call);
    case DCNV3_BF16: return backward_type<bf16, float>(call);
    default: return DCNV3_UNSUPPORTED;
  }
}

}  // namespace msda

extern const MsdaKernels msda_kernels = {msda::forward, msda::backward};

}  // namespace DCNV3_ISA
}  // namespace dcnv3
