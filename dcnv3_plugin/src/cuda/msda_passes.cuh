// Multi-scale deformable attention: choice of kernel, tile and threads for a call, for one type of value.
#pragma once

#include <cstdint>

#include "msda_backward.cuh"
#include "msda_call.h"
#include "msda_forward.cuh"
#include "plan.cuh"

namespace dcnv3 {
namespace cuda {
namespace msda {

// Samples of a tile, and of a unit at a time: what fits, with all else a block needs, into the 48 KiB every GPU gives.
constexpr int kMostSamples = 1024, kMostSlab = 256;
// Channels of a block where their sums are kept from slab to slab.
constexpr int kMostSums = 512;
constexpr int kWarp = 32;

inline int least(std::int64_t a, std::int64_t b) { return static_cast<int>(a < b ? a : b); }

// Fits a tile to `threads`, of which `per_unit` share a unit.
inline Plan make_plan(Geometry& g, int threads, int per_unit) {
  Plan plan = {threads, 0};
  while (true) {
    const int room = least(plan.threads / per_unit, kMostSamples / g.slab);
    g.tile_units = least(room < 1 ? 1 : room, g.units);
    plan.blocks = tiles(g.units, g.tile_units) * g.channel_tiles;
    if (plan.blocks >= kFewBlocks || plan.threads <= kLeastThreads) break;
    plan.threads /= 2;
  }
  // Where samples limit the tile, threads without work would only take room.
  plan.threads = least(plan.threads, tiles(std::int64_t{g.tile_units} * per_unit, kWarp) * kWarp);
  g.parts = least(plan.threads / g.tile_units, least(g.samples, kWarp));
  return plan;
}

template <typename Kernel>
int launch_planned(const typename Kernel::Args& args, const Plan& plan, Stream stream) {
  return launch<Kernel>(args, plan.blocks, plan.threads, Kernel::shared_bytes(args.g), stream);
}

template <typename T>
struct ForwardPass {
  template <int LANES, int CHANNELS>
  static int run(const Call& call) {
    using Kernel = Forward<T, LANES, CHANNELS>;
    typename Kernel::Args args{call.g, static_cast<T*>(call.output.data)};
    Geometry& g = args.g;
    g.slab = least(g.samples, kMostSlab);
    g.tile_channels = g.slab < g.samples && CHANNELS == 0 ? least(g.channels, kMostSums) : g.channels;
    g.channel_tiles = static_cast<int>(tiles(g.channels, g.tile_channels));
    const Plan plan = make_plan(g, Kernel::kThreads, Kernel::threads_per_unit(g));
    return launch_planned<Kernel>(args, plan, static_cast<Stream>(call.stream));
  }
};

template <typename T>
struct BackwardPass {
  template <int LANES, int CHANNELS>
  static int run(const Call& call) {
    using Kernel = Backward<T, LANES, CHANNELS>;
    const Stream stream = static_cast<Stream>(call.stream);
    const Workspace work = workspace_of(call);
    typename Kernel::Args args{};
    Geometry& g = args.g;
    g = call.g;
    g.slab = least(g.samples, kMostSlab);
    g.tile_channels = g.channels;
    g.channel_tiles = 1;
    args.gradient = static_cast<const T*>(call.output.data);
    args.location = call.gradients.location;
    args.weight = call.gradients.weight;
    args.sums = work.sums();
    args.share = Kernel::threads_per_unit(g);
    const Plan plan = make_plan(g, Kernel::kThreads, args.share);
    const bool wants_samples = args.location.data != nullptr || args.weight.data != nullptr;
    return run_parts<T>(work, wants_samples ? kSamples : 0, stream, [&](int parts) {
      args.parts = parts;
      return launch_planned<Kernel>(args, plan, stream);
    });
  }
};

// A kernel for heads of 32 channels, as in Deformable DETR and BEVFormer, one for accesses of 16 bytes, and one for the
// rest.
template <typename T, template <typename> class Pass>
int by_shape(const Call& call) {
  constexpr int L = kLanes<T>;
  if (!call.aligned || call.g.channels % L != 0) return Pass<T>::template run<1, 0>(call);
  return call.g.channels == 32 ? Pass<T>::template run<L, 32>(call) : Pass<T>::template run<L, 0>(call);
}

template <typename T>
int forward(const Call& call) {
  return by_shape<T, ForwardPass>(call);
}

template <typename T>
int backward(const Call& call) {
  // Without a query, no kernel runs, and the gradient is 0.
  if (call.g.units > 0) return by_shape<T, BackwardPass>(call);
  const Workspace work = workspace_of(call);
  if (!work.wanted()) return DCNV3_OK;
  const std::uint64_t numbers = static_cast<std::uint64_t>(call.batch * call.g.image);
  return fill_zero(call.gradients.value.data, numbers * sizeof(T), static_cast<Stream>(call.stream));
}

}  // namespace msda
}  // namespace cuda
}  // namespace dcnv3
