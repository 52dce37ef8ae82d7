// RoIAlign: launches of a call, for one type of map.
#pragma once

#include <cstdint>

#include "plan.cuh"
#include "roi_align_backward.cuh"
#include "roi_align_call.h"
#include "roi_align_forward.cuh"

namespace dcnv3 {
namespace cuda {
namespace roi_align {

// Shares the channels of a box out to blocks.
inline Plan make_plan(Layout& at, int threads) {
  const std::int64_t groups = tiles(at.g.channels, kChannels);
  Plan plan = {threads, 0};
  while (true) {
    const std::int64_t room = plan.threads / at.g.bins(), wanted = room < 1 ? 1 : room;
    at.groups = static_cast<int>(wanted < groups ? wanted : groups);
    at.per_box = tiles(groups, at.groups);
    plan.blocks = at.g.count * at.per_box;
    if (plan.blocks >= kFewBlocks || plan.threads <= kLeastThreads) return plan;
    plan.threads /= 2;
  }
}

template <typename Kernel>
int launch_planned(const typename Kernel::Args& args, const Plan& plan, Stream stream) {
  return launch<Kernel>(args, plan.blocks, plan.threads, Kernel::shared_bytes(plan.threads), stream);
}

inline int fill_tables(const Layout& at, Stream stream) {
  return launch<Weigh>({at.g, at.tables}, tiles(Weigh::items(at.g), Weigh::kThreads), Weigh::kThreads, 0, stream);
}

template <typename T>
int forward(const Call& call) {
  const Stream stream = static_cast<Stream>(call.stream);
  typename Forward<T>::Args args{};
  args.at.g = call.g;
  args.at.tables = tables_of(call, false);
  args.map = static_cast<const T*>(call.map.data);
  args.output = static_cast<T*>(call.output.data);
  const Plan plan = make_plan(args.at, Forward<T>::kThreads);
  const int status = fill_tables(args.at, stream);
  return status == DCNV3_OK ? launch_planned<Forward<T>>(args, plan, stream) : status;
}

template <typename T>
int backward(const Call& call) {
  const Stream stream = static_cast<Stream>(call.stream);
  const Workspace work = workspace_of(call);
  // Without a box, no kernel runs, and the gradient is 0.
  if (call.g.count == 0) {
    const std::uint64_t numbers = static_cast<std::uint64_t>(call.g.batch * call.g.channels * call.g.pixels());
    return fill_zero(call.map.data, numbers * sizeof(T), stream);
  }
  typename Backward<T>::Args args{};
  args.at.g = call.g;
  args.at.tables = tables_of(call, true);
  args.gradient = static_cast<const T*>(call.output.data);
  args.sums = work.sums();
  const Plan plan = make_plan(args.at, Backward<T>::kThreads);
  const int status = fill_tables(args.at, stream);
  if (status != DCNV3_OK) return status;
  return run_parts<T>(work, 0, stream, [&](int parts) {
    args.parts = parts;
    return launch_planned<Backward<T>>(args, plan, stream);
  });
}

}  // namespace roi_align
}  // namespace cuda
}  // namespace dcnv3
