// What the C interfaces of all operators check alike, and how they choose the kernels of a type.
#pragma once

#include <cstdint>
#include <initializer_list>

#include "../shared/checks.h"
#include "dcnv3/dcnv3.h"

namespace dcnv3 {
namespace cuda {

constexpr std::int64_t kMostPixels = 0x7fffffff;

inline bool is_known(std::int32_t type) { return type == DCNV3_F32 || type == DCNV3_F16 || type == DCNV3_BF16; }
inline bool is_aligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; }

// Whether an array of these sizes, none below 0, has a number of bytes of 64 bits.
inline bool fits(std::initializer_list<std::int64_t> sizes) {
  std::int64_t room = std::int64_t{1} << 59;
  for (const std::int64_t size : sizes) {
    if (size == 0) return true;
    room /= size;
  }
  return room > 0;
}

inline int check_workspace(std::uint64_t wanted, const void* workspace, std::uint64_t bytes) {
  if (wanted > bytes) return DCNV3_OUT_OF_MEMORY;
  return wanted > 0 && (workspace == nullptr || !is_aligned(workspace)) ? DCNV3_BAD_ARGUMENT : DCNV3_OK;
}

// Of three tables of kernels, that of a known type.
template <typename Passes>
const Passes& by_type(std::int32_t type, const Passes& f32, const Passes& f16, const Passes& bf16) {
  return type == DCNV3_F32 ? f32 : (type == DCNV3_F16 ? f16 : bf16);
}

}  // namespace cuda
}  // namespace dcnv3
