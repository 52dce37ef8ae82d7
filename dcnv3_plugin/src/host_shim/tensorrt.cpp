// The TensorRT plugins without TensorRT: a C interface for tests, with kernels for the host and tensors in its memory.
#include <cstring>
#include <exception>

#include "dcnv3/dcnv3.h"
#include "tensorrt/operator.h"

namespace {

using namespace dcnv3::tensorrt;

// Sizes that are known.
class Numbers final : public Sizes {
 public:
  Size constant(std::int64_t value) override { return to(value); }
  Size sum(Size a, Size b) override { return to(of(a) + of(b)); }
  Size product(Size a, Size b) override { return to(of(a) * of(b)); }
  Size floor_division(Size a, Size b) override {
    const std::int64_t quotient = of(a) / of(b);
    return to(quotient - (of(a) % of(b) != 0 && (of(a) < 0) != (of(b) < 0)));
  }

  static Size to(std::int64_t value) { return reinterpret_cast<Size>(value); }
  static std::int64_t of(Size size) { return reinterpret_cast<std::int64_t>(size); }
};

const OperatorKind* kind_of(const char* name) {
  for (const OperatorKind* kind : kAllKinds)
    if (std::strcmp(kind->rules->plugin, name) == 0) return kind;
  return nullptr;
}

void copy(const Reason& reason, char* text, std::int64_t room) {
  std::snprintf(text, static_cast<std::size_t>(room), "%s", reason.text());
}

}  // namespace

extern "C" {

// Types of FieldType, in its order.
typedef struct dcnv3_plugin_field {
  const char* name;
  const void* data;
  int32_t type;
  int64_t length;
} dcnv3_plugin_field;

// A tensor: its type (of dcnv3_type, -1: another), whether it is row-major, and its sizes.
typedef struct dcnv3_plugin_tensor {
  int32_t type, linear, axes;
  int64_t sizes[kMostAxes];
  void* data;
} dcnv3_plugin_tensor;

// Makes a plugin; NULL and why in `text`.
DCNV3_EXPORT void* dcnv3_plugin_create(const char* name, const dcnv3_plugin_field* fields, int64_t count, char* text,
                                       int64_t room) {
  Reason reason;
  std::unique_ptr<Operator> made;
  try {
    const OperatorKind* const kind = kind_of(name);
    std::vector<Field> row;
    for (int64_t i = 0; i < count; ++i)
      row.push_back({fields[i].name, fields[i].data, static_cast<FieldType>(fields[i].type), fields[i].length});
    if (kind == nullptr)
      reason.refuse("there is no plugin '%s'", name);
    else
      made = create(*kind, row.data(), count, reason);
  } catch (const std::exception& error) {
    reason.refuse("%s", error.what());
  }
  copy(reason, text, room);
  return made.release();
}

// Makes a plugin from an engine's bytes; NULL and why in `text`.
DCNV3_EXPORT void* dcnv3_plugin_restore(const char* name, const void* state, int64_t bytes, char* text, int64_t room) {
  Reason reason;
  std::unique_ptr<Operator> made;
  try {
    const OperatorKind* const kind = kind_of(name);
    if (kind != nullptr) made = restore(*kind, state, static_cast<uint64_t>(bytes), reason);
  } catch (const std::exception& error) {
    reason.refuse("%s", error.what());
  }
  copy(reason, text, room);
  return made.release();
}

DCNV3_EXPORT void* dcnv3_plugin_clone(const void* plugin) {
  return static_cast<const Operator*>(plugin)->clone().release();
}
DCNV3_EXPORT void dcnv3_plugin_destroy(void* plugin) { delete static_cast<Operator*>(plugin); }

// Writes the plugin's state, at most `room` words; returns how many it has.
DCNV3_EXPORT int64_t dcnv3_plugin_state(const void* plugin, int32_t* words, int64_t room) {
  const Operator& op = *static_cast<const Operator*>(plugin);
  const auto state = write_state(op.rules(), op.values());
  const auto size = static_cast<int64_t>(state.size());
  std::memcpy(words, state.data(), static_cast<std::size_t>(size < room ? size : room) * sizeof(int32_t));
  return size;
}

// Writes axes and sizes of `output` by those of the inputs; 0, and why in `text`, where that cannot be.
DCNV3_EXPORT int dcnv3_plugin_output_shape(const void* plugin, const dcnv3_plugin_tensor* inputs, int count,
                                           dcnv3_plugin_tensor* output, char* text, int64_t room) {
  Reason reason;
  Numbers numbers;
  SymbolicShape shapes[kInputs] = {}, made = {};
  for (int i = 0; i < count && i < kInputs; ++i) {
    shapes[i].axes = inputs[i].axes;
    for (int axis = 0; axis < inputs[i].axes; ++axis) shapes[i].sizes[axis] = Numbers::to(inputs[i].sizes[axis]);
  }
  const bool good = static_cast<const Operator*>(plugin)->output_shape(shapes, count, numbers, made, reason);
  copy(reason, text, room);
  output->axes = made.axes;
  for (int axis = 0; axis < made.axes; ++axis) output->sizes[axis] = Numbers::of(made.sizes[axis]);
  return good;
}

static Tensor tensor_of(const dcnv3_plugin_tensor& given) {
  Tensor tensor = {given.type, given.linear != 0, given.axes, {}};
  std::memcpy(tensor.sizes, given.sizes, sizeof tensor.sizes);
  return tensor;
}

// Whether tensor `position` of three inputs and the output may have its type and format.
DCNV3_EXPORT int dcnv3_plugin_takes(const dcnv3_plugin_tensor* tensors, int position) {
  Tensor row[kTensors];
  for (int i = 0; i < kTensors; ++i) row[i] = tensor_of(tensors[i]);
  return takes(row, position);
}

// Runs the plugin on three inputs and the output; with `dry`, only checks. 0, and why in `text`, where it refuses.
DCNV3_EXPORT int dcnv3_plugin_run(const void* plugin, const dcnv3_plugin_tensor* tensors, int dry, char* text,
                                  int64_t room) {
  Reason reason;
  Tensor row[kTensors];
  void* data[kTensors];
  for (int i = 0; i < kTensors; ++i) {
    row[i] = tensor_of(tensors[i]);
    data[i] = tensors[i].data;
  }
  const Operator& op = *static_cast<const Operator*>(plugin);
  const bool good = dry ? op.check(row, reason) : op.run(row, data, nullptr, reason);
  copy(reason, text, room);
  return good;
}

}  // extern "C"
