// RoIAlign: what the checked entry points hand to the kernels of one type.
#pragma once

#include <cstdint>

#include "roi_align_axis.cuh"
#include "workspace.cuh"

namespace dcnv3 {
namespace cuda {
namespace roi_align {

struct Call {
  Geometry g;
  dcnv3_array map;     // input, or its gradient in the backward pass
  dcnv3_array output;  // of the forward pass, or its gradient in the backward pass
  bool deterministic;
  void* workspace;
  void* stream;
};

// Where the map's gradient is summed: a pixel gets at most one number from each bin.
inline Workspace workspace_of(const Call& call) {
  const Geometry& g = call.g;
  return Workspace(call.map, g.batch * g.channels * g.pixels(), g.count * g.bins(), call.deterministic, call.workspace);
}

// The tables lie behind the sums in the workspace.
inline std::uint64_t bytes_of_tables(const Geometry& g) {
  const std::int64_t spans = g.rows.bins + g.columns.bins, weights = weights_of(g.rows) + weights_of(g.columns);
  return static_cast<std::uint64_t>(g.count) * (spans * sizeof(Span) + weights * sizeof(float));
}

inline std::uint64_t bytes_before_tables(const Call& call, bool sums) {
  return sums ? (workspace_of(call).bytes() + 15) / 16 * 16 : 0;
}

inline Tables tables_of(const Call& call, bool sums) {
  Tables tables{};
  tables.spans = reinterpret_cast<Span*>(static_cast<char*>(call.workspace) + bytes_before_tables(call, sums));
  tables.weights = reinterpret_cast<float*>(tables.spans + call.g.count * (call.g.rows.bins + call.g.columns.bins));
  return tables;
}

struct Passes {
  int (*forward)(const Call&);
  int (*backward)(const Call&);
};

extern const Passes passes_f32, passes_f16, passes_bf16;

}  // namespace roi_align
}  // namespace cuda
}  // namespace dcnv3
