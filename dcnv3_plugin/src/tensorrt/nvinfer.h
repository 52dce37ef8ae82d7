// TensorRT's types on one side, ours on the other, and its log: what the plugins of all versions share.
#pragma once

#include <NvInferRuntime.h>

#include <cstdio>
#include <exception>
#include <memory>
#include <vector>

#include "dcnv3/dcnv3.h"
#include "operator.h"

namespace dcnv3 {
namespace tensorrt {

constexpr const char* kVersion = "1";
constexpr const char* kNamespace = "";
constexpr int kMostFields = 16;

#if NV_TENSORRT_MAJOR == 8 && NV_TENSORRT_MINOR < 6
inline nvinfer1::ILogger* find_logger() { return ::getLogger(); }
#else
inline nvinfer1::ILoggerFinder* logger_finder = nullptr;
inline nvinfer1::ILogger* find_logger() { return logger_finder == nullptr ? nullptr : logger_finder->findLogger(); }
#endif

// Logs an error: to TensorRT where it has said how, else to the standard error output.
inline void log_error(const char* node, const char* text) noexcept {
  char line[768];
  if (node != nullptr && node[0] != '\0')
    std::snprintf(line, sizeof line, "node '%.200s': %s", node, text);
  else
    std::snprintf(line, sizeof line, "%s", text);
  try {
    if (nvinfer1::ILogger* logger = find_logger()) {
      logger->log(nvinfer1::ILogger::Severity::kERROR, line);
      return;
    }
  } catch (...) {
    // Then the line goes where it can.
  }
  std::fprintf(stderr, "%s\n", line);
}

// Runs `body(reason)`; whatever it throws becomes a reason. Logs the reason where the result is false.
template <typename Body>
bool guarded(const char* node, const Body& body) noexcept {
  Reason reason;
  try {
    if (body(reason)) return true;
  } catch (const std::exception& error) {
    reason.refuse("the plugin failed: %s", error.what());
  } catch (...) {
    reason.refuse("the plugin failed for an unknown reason");
  }
  log_error(node, reason.text());
  return false;
}

inline std::int32_t type_of(nvinfer1::DataType type) {
  switch (type) {
    case nvinfer1::DataType::kFLOAT:
      return DCNV3_F32;
    case nvinfer1::DataType::kHALF:
      return DCNV3_F16;
#if NV_TENSORRT_MAJOR >= 9
    case nvinfer1::DataType::kBF16:
      return DCNV3_BF16;
#endif
    default:
      return kOtherType;
  }
}

inline Tensor tensor_of(const nvinfer1::PluginTensorDesc& desc) {
  Tensor tensor = {type_of(desc.type), desc.format == nvinfer1::TensorFormat::kLINEAR, desc.dims.nbDims, {}};
  for (int axis = 0; axis < desc.dims.nbDims && axis < kMostAxes; ++axis) tensor.sizes[axis] = desc.dims.d[axis];
  return tensor;
}
inline const nvinfer1::PluginTensorDesc& desc_of(const nvinfer1::PluginTensorDesc& desc) { return desc; }
inline const nvinfer1::PluginTensorDesc& desc_of(const nvinfer1::DynamicPluginTensorDesc& desc) { return desc.desc; }

// Puts inputs and the output into one row; refuses other numbers of them.
template <typename Desc>
bool tensors_of(const Desc* inputs, int input_count, const Desc* outputs, int output_count, Tensor* tensors,
                Reason& reason) {
  if (input_count != kInputs || output_count != 1)
    return reason.refuse("there are %d inputs and %d outputs instead of %d and 1", input_count, output_count, kInputs);
  for (int i = 0; i < kInputs; ++i) tensors[i] = tensor_of(desc_of(inputs[i]));
  tensors[kInputs] = tensor_of(desc_of(outputs[0]));
  return true;
}

// Whether tensor `position`, of inputs and outputs in one row, may be as it is.
template <typename Desc>
bool supports(const Desc* tensors, int position, int input_count, int output_count) noexcept {
  if (input_count != kInputs || output_count != 1 || position < 0 || position >= kTensors) return false;
  Tensor row[kTensors] = {};
  for (int i = 0; i <= position; ++i) row[i] = tensor_of(desc_of(tensors[i]));
  return takes(row, position);
}

// Starts the kernels; shapes are those of this call.
inline bool run(const Operator& op, const nvinfer1::PluginTensorDesc* inputs, const nvinfer1::PluginTensorDesc* outputs,
                const void* const* input_data, void* const* output_data, cudaStream_t stream,
                const char* node) noexcept {
  return guarded(node, [&](Reason& reason) {
    Tensor tensors[kTensors];
    tensors_of(inputs, kInputs, outputs, 1, tensors, reason);
    void* data[kTensors];
    // The kernels' interface has one struct for arrays they read and for those they write.
    for (int i = 0; i < kInputs; ++i) data[i] = const_cast<void*>(input_data[i]);
    data[kInputs] = output_data[0];
    return op.run(tensors, data, stream, reason);
  });
}

// Sizes as expressions of TensorRT.
class Expressions final : public Sizes {
 public:
  explicit Expressions(nvinfer1::IExprBuilder& builder) : builder_(builder) {}

  Size constant(std::int64_t value) override {
#if NV_TENSORRT_MAJOR >= 10
    return builder_.constant(value);
#else
    return builder_.constant(static_cast<std::int32_t>(value));
#endif
  }
  Size sum(Size a, Size b) override { return made(nvinfer1::DimensionOperation::kSUM, a, b); }
  Size product(Size a, Size b) override { return made(nvinfer1::DimensionOperation::kPROD, a, b); }
  Size floor_division(Size a, Size b) override { return made(nvinfer1::DimensionOperation::kFLOOR_DIV, a, b); }

 private:
  Size made(nvinfer1::DimensionOperation operation, Size a, Size b) {
    const auto expression = [](Size size) { return static_cast<const nvinfer1::IDimensionExpr*>(size); };
    return builder_.operation(operation, *expression(a), *expression(b));
  }

  nvinfer1::IExprBuilder& builder_;
};

inline bool output_shape(const Operator& op, const nvinfer1::DimsExprs* inputs, int count,
                         nvinfer1::IExprBuilder& builder, nvinfer1::DimsExprs& output, const char* node) noexcept {
  return guarded(node, [&](Reason& reason) {
    SymbolicShape shapes[kInputs] = {}, made = {};
    for (int i = 0; i < count && i < kInputs; ++i) {
      shapes[i].axes = inputs[i].nbDims;
      for (int axis = 0; axis < inputs[i].nbDims && axis < kMostAxes; ++axis) shapes[i].sizes[axis] = inputs[i].d[axis];
    }
    Expressions expressions(builder);
    if (!op.output_shape(shapes, count, expressions, made, reason)) return false;
    output.nbDims = made.axes;
    for (int axis = 0; axis < made.axes; ++axis) {
      if (made.sizes[axis] == nullptr) return reason.refuse("TensorRT makes no size of the output's axis %d", axis);
      output.d[axis] = static_cast<const nvinfer1::IDimensionExpr*>(made.sizes[axis]);
    }
    return true;
  });
}

// Makes a plugin of the fields of a node; nullptr where that cannot be, and why in the log.
inline std::unique_ptr<Operator> create(const OperatorKind& kind, const nvinfer1::PluginFieldCollection* fields,
                                        const char* node) noexcept {
  std::unique_ptr<Operator> made;
  guarded(node, [&](Reason& reason) {
    std::vector<Field> row;
    for (int i = 0; fields != nullptr && fields->fields != nullptr && i < fields->nbFields; ++i) {
      const nvinfer1::PluginField& field = fields->fields[i];
      FieldType type = FieldType::other;
      if (field.type == nvinfer1::PluginFieldType::kINT32) type = FieldType::int32;
      if (field.type == nvinfer1::PluginFieldType::kFLOAT32) type = FieldType::float32;
      if (field.type == nvinfer1::PluginFieldType::kFLOAT64) type = FieldType::float64;
#if NV_TENSORRT_MAJOR >= 9
      if (field.type == nvinfer1::PluginFieldType::kINT64) type = FieldType::int64;
#endif
      row.push_back({field.name, field.data, type, field.length});
    }
    made = create(kind, row.data(), static_cast<std::int64_t>(row.size()), reason);
    return made != nullptr;
  });
  return made;
}

// The fields that a creator announces to parsers.
class FieldNames {
 public:
  explicit FieldNames(const FieldRules& rules) {
    for (int i = 0; i < rules.count && i < kMostFields; ++i) {
      const bool real = rules.rules[i].kind == Kind::real;
      fields_[i] = {rules.rules[i].name, nullptr,
                    real ? nvinfer1::PluginFieldType::kFLOAT32 : nvinfer1::PluginFieldType::kINT32, 1};
    }
    collection_ = {rules.count, fields_};
  }
  FieldNames(const FieldNames&) = delete;
  FieldNames& operator=(const FieldNames&) = delete;

  const nvinfer1::PluginFieldCollection* collection() const { return &collection_; }

 private:
  nvinfer1::PluginField fields_[kMostFields] = {};
  nvinfer1::PluginFieldCollection collection_ = {};
};

}  // namespace tensorrt
}  // namespace dcnv3
