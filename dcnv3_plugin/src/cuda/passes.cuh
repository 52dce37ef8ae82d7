// Choice of kernel, tile and threads for a call, for one type of input.
#pragma once

#include <cstdint>

#include "backward.cuh"
#include "call.h"
#include "forward.cuh"
#include "plan.cuh"

namespace dcnv3 {
namespace cuda {

// Samples of a tile: what fits, with all else a block needs, into the 48 KiB every GPU gives.
constexpr int kMostSamples = DCNV3_CUDA_MAX_POINTS;
// Groups of a tile: a run of offsets and masks long enough to be read in whole sectors.
constexpr int kMostGroups = 8;

// Fits a tile to `threads`, of which `per_unit` share a unit; returns the number of blocks.
inline std::int64_t fit_tile(Geometry& g, int threads, int per_unit) {
  const int by_threads = threads / per_unit, by_samples = kMostSamples / g.points;
  const int units = by_threads < 1 ? 1 : (by_threads < by_samples ? by_threads : by_samples);
  g.group_tiles = static_cast<int>(tiles(g.group, units < kMostGroups ? units : kMostGroups));
  g.tile_groups = static_cast<int>(tiles(g.group, g.group_tiles));
  const int pixels = units / g.tile_groups;
  g.tile_height = 1;
  while (4 * g.tile_height * g.tile_height <= pixels && 2 * g.tile_height <= g.out_height) g.tile_height *= 2;
  const int room = pixels / g.tile_height;
  g.tile_width = room < g.out_width ? room : static_cast<int>(g.out_width);
  g.columns = tiles(g.out_width, g.tile_width);
  g.rows = tiles(g.out_height, g.tile_height);
  return g.batch * g.columns * g.rows * g.group_tiles;
}

inline Plan make_plan(Geometry& g, int threads, int per_unit) {
  Plan plan = {threads, fit_tile(g, threads, per_unit)};
  while (plan.blocks < kFewBlocks && plan.threads > kLeastThreads) {
    plan.threads /= 2;
    plan.blocks = fit_tile(g, plan.threads, per_unit);
  }
  return plan;
}

template <typename Kernel>
int launch_planned(typename Kernel::Args& args, const Plan& plan, Stream stream) {
  return launch<Kernel>(args, plan.blocks, plan.threads, Kernel::shared_bytes(args.g, args.g.units()), stream);
}

template <typename T>
struct ForwardPass {
  template <int LANES, int CHANNELS, int POINTS>
  static int run(const Call& call) {
    using Kernel = Forward<T, LANES, CHANNELS, POINTS>;
    typename Kernel::Args args{call.g, static_cast<T*>(call.output.data)};
    const Plan plan = make_plan(args.g, Kernel::kThreads, Kernel::threads_per_unit(args.g));
    return launch_planned<Kernel>(args, plan, static_cast<Stream>(call.stream));
  }
};

template <typename T>
struct BackwardPass {
  template <int LANES, int CHANNELS, int POINTS>
  static int run(const Call& call) {
    using Kernel = Backward<T, LANES, CHANNELS, POINTS>;
    const Stream stream = static_cast<Stream>(call.stream);
    const Workspace work = workspace_of(call);
    typename Kernel::Args args{};
    args.g = call.g;
    args.gradient = static_cast<const T*>(call.output.data);
    args.offset = call.gradients.offset;
    args.mask = call.gradients.mask;
    args.gate = call.gradients.gate;
    args.share = Kernel::threads_per_unit(args.g);
    args.sums = work.sums();
    const Plan plan = make_plan(args.g, Kernel::kThreads, args.share);
    const bool wants_samples =
        args.offset.data != nullptr || args.mask.data != nullptr || args.gate.data != nullptr;
    return run_parts<T>(work, wants_samples ? kSamples : 0, stream, [&](int parts) {
      args.parts = parts;
      return launch_planned<Kernel>(args, plan, stream);
    });
  }
};

// Specialised kernels for the widths and kernels of InternImage (16: T to XL, 32: H and G; 3x3 and 5x5), one for
// accesses of 16 bytes, and one for the rest.
template <typename T, template <typename> class Pass>
int by_shape(const Call& call) {
  const Geometry& g = call.g;
  constexpr int L = kLanes<T>;
  if (!call.aligned || g.channels % L != 0) return Pass<T>::template run<1, 0, 0>(call);
  const bool square = g.kernel_h == call.kernel_w && g.removed < 0;
  if (square && g.kernel_h == 3 && g.channels == 16) return Pass<T>::template run<L, 16, 9>(call);
  if (square && g.kernel_h == 3 && g.channels == 32) return Pass<T>::template run<L, 32, 9>(call);
  if (square && g.kernel_h == 5 && g.channels == 16) return Pass<T>::template run<L, 16, 25>(call);
  if (square && g.kernel_h == 5 && g.channels == 32) return Pass<T>::template run<L, 32, 25>(call);
  return Pass<T>::template run<L, 0, 0>(call);
}

template <typename T>
int forward(const Call& call) {
  return by_shape<T, ForwardPass>(call);
}
template <typename T>
int backward(const Call& call) {
  return by_shape<T, BackwardPass>(call);
}

}  // namespace cuda
}  // namespace dcnv3
