// Where a gradient is summed that many threads add to, and the launches that lead to it.
#pragma once

#include <cstdint>

#include "plan.cuh"
#include "sums.cuh"

namespace dcnv3 {
namespace cuda {

// What one launch of a backward kernel does: sums of the input's gradient, gradients of the samples, and for sums in
// fixed point the largest number that will be summed.
enum Part { kInput = 1, kSamples = 2, kBound = 4 };

// Sums lie in the result itself, or where its type is too coarse or they are in fixed point, in the caller's workspace,
// cleared before: [numbers] 64-bit sums, [numbers] floats, the bound.
class Workspace {
 public:
  // For a gradient of so many numbers, NULL if not wanted, in each of whose sums at most `meeting` numbers meet.
  Workspace(const dcnv3_array& result, std::int64_t numbers, std::int64_t meeting, bool deterministic, void* memory)
      : result_(result), numbers_(numbers), meeting_(meeting), deterministic_(deterministic), memory_(memory) {}

  bool wanted() const { return result_.data != nullptr; }
  bool deterministic() const { return deterministic_; }

  std::uint64_t bytes() const {
    if (!wanted()) return 0;
    const std::uint64_t count = static_cast<std::uint64_t>(numbers_);
    if (deterministic_) return count * (sizeof(std::int64_t) + sizeof(float)) + sizeof(std::uint32_t);
    return result_.type == DCNV3_F32 ? 0 : count * sizeof(float);
  }

  Sums sums() const {
    Sums sums{};
    if (!wanted()) return sums;
    if (!deterministic_) {
      sums.plain = static_cast<float*>(bytes() > 0 ? memory_ : result_.data);
      return sums;
    }
    sums.fixed = static_cast<std::int64_t*>(memory_);
    sums.plain = reinterpret_cast<float*>(sums.fixed + numbers_);
    sums.largest_bits = reinterpret_cast<std::uint32_t*>(sums.plain + numbers_);
    for (std::int64_t most = meeting_; most > 0; most /= 2) ++sums.count_bits;
    return sums;
  }

  // Sets all sums to 0.
  template <typename T>
  int clear(Stream stream) const {
    if (bytes() > 0) return fill_zero(memory_, bytes(), stream);
    return fill_zero(result_.data, static_cast<std::uint64_t>(numbers_) * sizeof(T), stream);
  }

  // Writes the sums as the result, unless they are that already.
  template <typename T>
  int finish(Stream stream) const {
    if (bytes() == 0 || numbers_ == 0) return DCNV3_OK;
    const std::int64_t wanted_blocks = tiles(numbers_, 4 * Finish<T>::kThreads), most = 1 << 16;
    const std::int64_t blocks = wanted_blocks < most ? wanted_blocks : most;
    const typename Finish<T>::Args args{sums(), static_cast<T*>(result_.data), numbers_, blocks};
    return launch<Finish<T>>(args, blocks, Finish<T>::kThreads, 0, stream);
  }

 private:
  const dcnv3_array result_;
  const std::int64_t numbers_, meeting_;
  const bool deterministic_;
  void* const memory_;
};

// Runs a backward pass: `pass(parts)` launches the kernel for these parts of it. `others` are parts beside the sums.
template <typename T, typename Pass>
int run_parts(const Workspace& work, int others, Stream stream, const Pass& pass) {
  if (!work.wanted()) return others != 0 ? pass(others) : DCNV3_OK;
  int status = work.clear<T>(stream);
  if (status == DCNV3_OK && work.deterministic()) {
    status = pass(kBound | others);
    others = 0;
  }
  if (status == DCNV3_OK) status = pass(kInput | others);
  return status == DCNV3_OK ? work.finish<T>(stream) : status;
}

}  // namespace cuda
}  // namespace dcnv3
