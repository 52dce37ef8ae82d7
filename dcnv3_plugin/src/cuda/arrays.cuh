// Numbers in global memory: 16 bytes of channels at a time, and arrays whose type is known at run time only.
#pragma once

#include <cstdint>

#include "device.cuh"

namespace dcnv3 {
namespace cuda {

// Channels of type T in one access of 16 bytes.
template <typename T>
constexpr int kLanes = 16 / static_cast<int>(sizeof(T));

template <typename T, int L>
DCNV3_DEVICE void load(const T* from, float (&to)[L]) {
  static_assert(L == 1 || L == kLanes<T>, "one number or 16 bytes");
  if constexpr (L == 1) {
    to[0] = to_float(*from);
  } else {
    alignas(16) T values[L];
    copy16(values, from);
    DCNV3_UNROLL
    for (int l = 0; l < L; ++l) to[l] = to_float(values[l]);
  }
}

template <typename T, int L>
DCNV3_DEVICE void store(const float (&from)[L], T* to) {
  static_assert(L == 1 || L == kLanes<T>, "one number or 16 bytes");
  if constexpr (L == 1) {
    from_float(from[0], *to);
  } else {
    alignas(16) T values[L];
    DCNV3_UNROLL
    for (int l = 0; l < L; ++l) from_float(from[l], values[l]);
    copy16(to, values);
  }
}

// Adds `weight` times the channels at `from`.
template <typename T, int L>
DCNV3_DEVICE void add_scaled(const T* from, float weight, float (&sum)[L]) {
  float values[L];
  load<T, L>(from, values);
  DCNV3_UNROLL
  for (int l = 0; l < L; ++l) sum[l] += values[l] * weight;
}

// Sum over the channels at `from` of each times its gradient.
template <typename T, int L>
DCNV3_DEVICE float dot(const T* from, const float (&gradient)[L]) {
  float values[L], sum = 0;
  load<T, L>(from, values);
  DCNV3_UNROLL
  for (int l = 0; l < L; ++l) sum += values[l] * gradient[l];
  return sum;
}

// Offsets, masks and gates: each read once per sample, so a test of the type costs nothing beside the memory.
DCNV3_DEVICE float read(const dcnv3_array& array, std::int64_t at) {
  if (array.type == DCNV3_F32) return static_cast<const float*>(array.data)[at];
  if (array.type == DCNV3_F16) return to_float(static_cast<const f16*>(array.data)[at]);
  return to_float(static_cast<const bf16*>(array.data)[at]);
}

DCNV3_DEVICE void write(const dcnv3_array& array, std::int64_t at, float value) {
  if (array.type == DCNV3_F32) static_cast<float*>(array.data)[at] = value;
  if (array.type == DCNV3_F16) from_float(value, static_cast<f16*>(array.data)[at]);
  if (array.type == DCNV3_BF16) from_float(value, static_cast<bf16*>(array.data)[at]);
}

}  // namespace cuda
}  // namespace dcnv3
