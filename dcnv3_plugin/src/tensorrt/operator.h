// What a plugin does, said without TensorRT's types: shapes, types and formats, checks, and the call of the kernels.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "dcnv3/dcnv3.h"
#include "fields.h"
#include "reason.h"

namespace dcnv3 {
namespace tensorrt {

constexpr int kInputs = 3, kTensors = kInputs + 1, kMostAxes = 8;
constexpr std::int32_t kOtherType = -1;  // beside those of dcnv3_type
constexpr std::int64_t kUnknown = -1;    // a size that is chosen later

// A tensor without its numbers. Only row-major ones are `linear`.
struct Tensor {
  std::int32_t type;
  bool linear;
  int axes;
  std::int64_t sizes[kMostAxes];
};

// Arithmetic on sizes that may still be unknown.
class Sizes {
 public:
  using Size = const void*;
  virtual Size constant(std::int64_t value) = 0;
  virtual Size sum(Size a, Size b) = 0;
  virtual Size product(Size a, Size b) = 0;
  virtual Size floor_division(Size a, Size b) = 0;

 protected:
  ~Sizes() = default;
};

struct SymbolicShape {
  int axes;
  Sizes::Size sizes[kMostAxes];
};

class Operator {
 public:
  explicit Operator(Values values) : values_(std::move(values)) {}
  virtual ~Operator() = default;

  const Values& values() const { return values_; }
  virtual const FieldRules& rules() const = 0;
  virtual std::unique_ptr<Operator> clone() const = 0;

  // Writes the output's shape from those of the inputs.
  virtual bool output_shape(const SymbolicShape* inputs, int count, Sizes& sizes, SymbolicShape& output,
                            Reason& reason) const = 0;

  // Checks shapes and types of kInputs inputs and the output behind them, as far as their sizes are known.
  bool check(const Tensor* tensors, Reason& reason) const;

  // Puts the work into a stream. `data` holds addresses of the inputs and then the output.
  bool run(const Tensor* tensors, void* const* data, void* stream, Reason& reason) const;

 protected:
  Operator(const Operator&) = default;

  // Checks shapes; their numbers of axes, too.
  virtual bool check_shapes(const Tensor* tensors, Reason& reason) const = 0;
  virtual int launch(const Tensor* tensors, void* const* data, void* stream) const = 0;

 private:
  Values values_;
};

// Whether tensor `position` may have the type and format it has, given those before it: row-major; float32, float16 or
// bfloat16; the second and third input alike, as the first or float32; the output as the first.
bool takes(const Tensor* tensors, int position);

// A plugin: its name, its fields, and how it is made from them.
struct OperatorKind {
  const FieldRules* rules;
  std::unique_ptr<Operator> (*make)(Values values, Reason& reason);
};

extern const OperatorKind kDcnv3, kAttention;
constexpr int kKinds = 2;
inline const OperatorKind* const kAllKinds[kKinds] = {&kDcnv3, &kAttention};

// Makes a plugin from its fields, or from a state in the one field kStateField; nullptr and a reason where that cannot
// be.
std::unique_ptr<Operator> create(const OperatorKind& kind, const Field* fields, std::int64_t count, Reason& reason);

// Makes a plugin from its state.
std::unique_ptr<Operator> restore(const OperatorKind& kind, const void* state, std::uint64_t bytes, Reason& reason);

// --- What operators' checks share ---------------------------------------------------------------------------------

inline bool agree(std::int64_t a, std::int64_t b) { return a < 0 || b < 0 || a == b; }

// Refuses a size that is known and not the wanted one.
bool check_size(const char* plugin, const Tensor& tensor, const char* name, int axis, std::int64_t wanted,
                const char* meaning, Reason& reason);

bool check_axes(const char* plugin, const Tensor& tensor, const char* name, int wanted, Reason& reason);

}  // namespace tensorrt
}  // namespace dcnv3
