// What the probe plays of TensorRT itself: a log, expressions of sizes, and the same few calls for IPluginV2 and V3.
#pragma once

#include <NvInferRuntime.h>

#include <cstdint>
#include <list>
#include <string>
#include <vector>

namespace probe {

using namespace nvinfer1;

constexpr bool kThree = NV_TENSORRT_MAJOR >= 10;

class Log final : public ILogger {
 public:
  void log(Severity, const char* text) noexcept override { last = text; }
  std::string last;
};

#if NV_TENSORRT_MAJOR >= 10
using Number = std::int64_t;
#else
using Number = std::int32_t;
#endif

// An expression that is a number already.
class Expression final : public IDimensionExpr, public apiv::VDimensionExpr {
 public:
  explicit Expression(Number value) : value_(value) { mImpl = this; }
  bool isConstant() const override { return true; }
  Number getConstantValue() const override { return value_; }
#if NV_TENSORRT_MAJOR >= 10
  bool isSizeTensor() const override { return false; }
#endif

 private:
  Number value_;
};

// TensorRT's builder of expressions, by arithmetic.
class Expressions final : public IExprBuilder, public apiv::VExprBuilder {
 public:
  Expressions() { mImpl = this; }
  const IDimensionExpr* constant(Number value) override { return &all_.emplace_back(value); }
  const IDimensionExpr* operation(DimensionOperation op, const IDimensionExpr& a, const IDimensionExpr& b) override {
    const Number x = static_cast<const Expression&>(a).getConstantValue();
    const Number y = static_cast<const Expression&>(b).getConstantValue();
    switch (op) {
      case DimensionOperation::kSUM:
        return constant(x + y);
      case DimensionOperation::kPROD:
        return constant(x * y);
      case DimensionOperation::kFLOOR_DIV:
        return constant(x / y);
      default:
        return nullptr;
    }
  }
#if NV_TENSORRT_MAJOR >= 10
  const IDimensionExpr* declareSizeTensor(std::int32_t, const IDimensionExpr&, const IDimensionExpr&) override {
    return nullptr;
  }
#endif

 private:
  std::list<Expression> all_;
};

inline Dims dims_of(const std::vector<int>& sizes) {
  Dims dims = {};
  dims.nbDims = static_cast<std::int32_t>(sizes.size());
  for (std::size_t i = 0; i < sizes.size(); ++i) dims.d[i] = sizes[i];
  return dims;
}

inline PluginTensorDesc desc_of(const std::vector<int>& sizes, DataType type,
                                TensorFormat format = TensorFormat::kLINEAR) {
  PluginTensorDesc desc = {};
  desc.dims = dims_of(sizes);
  desc.type = type;
  desc.format = format;
  desc.scale = 1.0F;
  return desc;
}

#if NV_TENSORRT_MAJOR >= 10

using Creator = IPluginCreatorV3One;
using Plugin = IPluginV3;

inline Plugin* create(Creator& creator, const PluginFieldCollection& fields) {
  return creator.createPlugin("probe", &fields, TensorRTPhase::kBUILD);
}
template <typename Capability>
Capability& as(Plugin& plugin, PluginCapabilityType type) {
  return *static_cast<Capability*>(plugin.getCapabilityInterface(type));
}
inline IPluginV3OneBuild& build(Plugin& p) { return as<IPluginV3OneBuild>(p, PluginCapabilityType::kBUILD); }
inline IPluginV3OneRuntime& runtime(Plugin& p) { return as<IPluginV3OneRuntime>(p, PluginCapabilityType::kRUNTIME); }

inline std::string identity(Plugin& plugin) {
  auto& core = as<IPluginV3OneCore>(plugin, PluginCapabilityType::kCORE);
  return std::string(core.getPluginName()) + "/" + core.getPluginVersion() + "/" + core.getPluginNamespace();
}
inline bool shape(Plugin& plugin, const std::vector<DimsExprs>& inputs, DimsExprs& output, IExprBuilder& builder) {
  return build(plugin).getOutputShapes(inputs.data(), static_cast<std::int32_t>(inputs.size()), nullptr, 0, &output, 1,
                                       builder) == 0;
}
inline bool supports(Plugin& plugin, const std::vector<PluginTensorDesc>& row, int position) {
  std::vector<DynamicPluginTensorDesc> all;
  for (const auto& desc : row) all.push_back({desc, desc.dims, desc.dims, desc.dims});
  return build(plugin).supportsFormatCombination(position, all.data(), 3, 1);
}
inline bool configure(Plugin& plugin, const std::vector<PluginTensorDesc>& row) {
  return runtime(plugin).onShapeChange(row.data(), 3, row.data() + 3, 1) == 0;
}
inline std::size_t workspace(Plugin& plugin, const std::vector<PluginTensorDesc>&) {
  return build(plugin).getWorkspaceSize(nullptr, 3, nullptr, 1);
}
inline std::vector<char> state(Plugin& plugin) {
  const PluginField& field = runtime(plugin).getFieldsToSerialize()->fields[0];
  const char* data = static_cast<const char*>(field.data);
  return {data, data + field.length * 4};
}
// Hands the fields back as TensorRT does, in memory of its own.
inline Plugin* restore(Creator& creator, const std::vector<char>& state) {
  const std::vector<char> copy = state;
  const PluginField field("dcnv3_state", copy.data(), PluginFieldType::kINT32, static_cast<int>(copy.size() / 4));
  const PluginFieldCollection fields = {1, &field};
  return creator.createPlugin("probe", &fields, TensorRTPhase::kRUNTIME);
}
inline bool enqueue(Plugin& plugin, const std::vector<PluginTensorDesc>& row, void* const* data) {
  return runtime(plugin).enqueue(row.data(), row.data() + 3, data, data + 3, nullptr, nullptr) == 0;
}
inline void destroy(Plugin* plugin) { delete plugin; }

#else

using Creator = IPluginCreator;
using Plugin = IPluginV2DynamicExt;

inline Plugin* create(Creator& creator, const PluginFieldCollection& fields) {
  return static_cast<Plugin*>(creator.createPlugin("probe", &fields));
}
inline std::string identity(Plugin& plugin) {
  return std::string(plugin.getPluginType()) + "/" + plugin.getPluginVersion() + "/" + plugin.getPluginNamespace();
}
inline bool shape(Plugin& plugin, const std::vector<DimsExprs>& inputs, DimsExprs& output, IExprBuilder& builder) {
  output = plugin.getOutputDimensions(0, inputs.data(), static_cast<std::int32_t>(inputs.size()), builder);
  return output.nbDims >= 0;
}
inline bool supports(Plugin& plugin, const std::vector<PluginTensorDesc>& row, int position) {
  return plugin.supportsFormatCombination(position, row.data(), 3, 1);
}
inline bool configure(Plugin&, const std::vector<PluginTensorDesc>&) { return true; }
inline std::size_t workspace(Plugin& plugin, const std::vector<PluginTensorDesc>& row) {
  return plugin.getWorkspaceSize(row.data(), 3, row.data() + 3, 1);
}
inline std::vector<char> state(Plugin& plugin) {
  std::vector<char> bytes(plugin.getSerializationSize());
  plugin.serialize(bytes.data());
  return bytes;
}
inline Plugin* restore(Creator& creator, const std::vector<char>& state) {
  return static_cast<Plugin*>(creator.deserializePlugin("probe", state.data(), state.size()));
}
inline bool enqueue(Plugin& plugin, const std::vector<PluginTensorDesc>& row, void* const* data) {
  return plugin.enqueue(row.data(), row.data() + 3, data, data + 3, nullptr, nullptr) == 0;
}
inline void destroy(Plugin* plugin) { plugin->destroy(); }

#endif

}  // namespace probe
