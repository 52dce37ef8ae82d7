// How work is shared out to blocks.
#pragma once

#include <cstdint>

#include "device.cuh"

namespace dcnv3 {
namespace cuda {

// With fewer blocks than this, blocks are made smaller: the largest GPUs have about half as many multiprocessors.
constexpr std::int64_t kFewBlocks = 264;
constexpr int kLeastThreads = 64;

DCNV3_BOTH std::int64_t tiles(std::int64_t size, std::int64_t tile) { return (size + tile - 1) / tile; }

struct Plan {
  int threads;
  std::int64_t blocks;
};

}  // namespace cuda
}  // namespace dcnv3
