#include "operator.h"

#include <cstring>

#include "dcnv3/dcnv3_cuda.h"

namespace dcnv3 {
namespace tensorrt {
namespace {

const char* type_name(std::int32_t type) {
  switch (type) {
    case DCNV3_F32:
      return "float32";
    case DCNV3_F16:
      return "float16";
    case DCNV3_BF16:
      return "bfloat16";
    default:
      return "of another type";
  }
}

bool is_known(std::int32_t type) { return type == DCNV3_F32 || type == DCNV3_F16 || type == DCNV3_BF16; }

}  // namespace

bool takes(const Tensor* tensors, int position) {
  if (position < 0 || position >= kTensors || !tensors[position].linear) return false;
  const std::int32_t type = tensors[position].type;
  if (position == 0) return is_known(type);
  if (position == 1) return is_known(type) && (type == tensors[0].type || type == DCNV3_F32);
  return type == tensors[position == 2 ? 1 : 0].type;
}

bool Operator::check(const Tensor* tensors, Reason& reason) const {
  for (int i = 0; i < kTensors; ++i) {
    if (takes(tensors, i)) continue;
    const char* const who = rules().plugin;
    if (!tensors[i].linear) return reason.refuse("%s: tensor %d is not row-major (kLINEAR)", who, i);
    return reason.refuse(
        "%s: the inputs are %s, %s and %s, the output %s; give float32, float16 or bfloat16, the second and third "
        "input alike, as the first or float32, the output as the first",
        who, type_name(tensors[0].type), type_name(tensors[1].type), type_name(tensors[2].type),
        type_name(tensors[3].type));
  }
  return check_shapes(tensors, reason);
}

bool Operator::run(const Tensor* tensors, void* const* data, void* stream, Reason& reason) const {
  for (int i = 0; i < kTensors; ++i)
    for (int axis = 0; axis < tensors[i].axes; ++axis)
      if (tensors[i].sizes[axis] < 0)
        return reason.refuse("%s: size %d of tensor %d is not known yet; set the context's shapes first",
                             rules().plugin, axis, i);
  if (!check(tensors, reason)) return false;
  const int status = launch(tensors, data, stream);
  if (status == DCNV3_OK) return true;
  return reason.refuse("%s: the kernel was not started: %s", rules().plugin, dcnv3_cuda_status_text(status));
}

std::unique_ptr<Operator> create(const OperatorKind& kind, const Field* fields, std::int64_t count, Reason& reason) {
  if (count == 1 && fields != nullptr && fields[0].name != nullptr && std::strcmp(fields[0].name, kStateField) == 0) {
    if (fields[0].type != FieldType::int32 || fields[0].length < 0) {
      reason.refuse("%s: field %s is not a state; build the engine anew with this library", kind.rules->plugin,
                    kStateField);
      return nullptr;
    }
    return restore(kind, fields[0].data, static_cast<std::uint64_t>(fields[0].length) * sizeof(std::int32_t), reason);
  }
  Values values;
  if (!read_fields(*kind.rules, fields, count, values, reason)) return nullptr;
  return kind.make(std::move(values), reason);
}

std::unique_ptr<Operator> restore(const OperatorKind& kind, const void* state, std::uint64_t bytes, Reason& reason) {
  constexpr std::uint64_t kMostBytes = 1 << 24;
  std::vector<std::int32_t> words;
  // Anything longer or uneven was never written by write_state.
  if (state != nullptr && bytes <= kMostBytes && bytes % sizeof(std::int32_t) == 0) {
    words.resize(bytes / sizeof(std::int32_t));
    if (!words.empty()) std::memcpy(words.data(), state, bytes);
  }
  Values values;
  if (!read_state(*kind.rules, words.data(), static_cast<std::int64_t>(words.size()), values, reason)) return nullptr;
  return kind.make(std::move(values), reason);
}

bool check_size(const char* plugin, const Tensor& tensor, const char* name, int axis, std::int64_t wanted,
                const char* meaning, Reason& reason) {
  if (agree(tensor.sizes[axis], wanted)) return true;
  return reason.refuse("%s: axis %d of %s is %lld, but %s is %lld; export the model anew, or mend the node", plugin,
                       axis, name, static_cast<long long>(tensor.sizes[axis]), meaning,
                       static_cast<long long>(wanted));
}

bool check_axes(const char* plugin, const Tensor& tensor, const char* name, int wanted, Reason& reason) {
  if (tensor.axes == wanted) return true;
  return reason.refuse("%s: %s has %d axes instead of %d", plugin, name, tensor.axes, wanted);
}

}  // namespace tensorrt
}  // namespace dcnv3
