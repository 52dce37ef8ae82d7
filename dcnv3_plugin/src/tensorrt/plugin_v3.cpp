// The plugins for TensorRT 10 and later (IPluginV3). Refers to no symbol of TensorRT: IPluginRegistry::loadLibrary asks
// for getCreators and registers what it gets.
#include <string>

#include "nvinfer.h"

namespace dcnv3 {
namespace tensorrt {
namespace {

using namespace nvinfer1;

class Plugin final : public IPluginV3, public IPluginV3OneCore, public IPluginV3OneBuild, public IPluginV3OneRuntime {
 public:
  explicit Plugin(std::unique_ptr<Operator> op) : op_(std::move(op)) {
    state_ = write_state(op_->rules(), op_->values());
    field_ = {kStateField, state_.data(), PluginFieldType::kINT32, static_cast<std::int32_t>(state_.size())};
    fields_ = {1, &field_};
    for (const std::int32_t word : state_) timing_id_ += std::to_string(word) + ' ';
  }

  // --- IPluginV3
  IPluginCapability* getCapabilityInterface(PluginCapabilityType type) noexcept override {
    switch (type) {
      case PluginCapabilityType::kCORE:
        return static_cast<IPluginV3OneCore*>(this);
      case PluginCapabilityType::kBUILD:
        return static_cast<IPluginV3OneBuild*>(this);
      case PluginCapabilityType::kRUNTIME:
        return static_cast<IPluginV3OneRuntime*>(this);
    }
    return nullptr;
  }

  IPluginV3* clone() noexcept override {
    IPluginV3* copy = nullptr;
    guarded(name(), [&](Reason&) {
      copy = new Plugin(op_->clone());
      return true;
    });
    return copy;
  }

  // --- IPluginV3OneCore
  const char* getPluginName() const noexcept override { return name(); }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

  // --- IPluginV3OneBuild
  std::int32_t getNbOutputs() const noexcept override { return 1; }

  std::int32_t getOutputDataTypes(DataType* outputs, std::int32_t output_count, const DataType* inputs,
                                  std::int32_t input_count) const noexcept override {
    if (outputs == nullptr || inputs == nullptr || output_count != 1 || input_count != kInputs) {
      log_error(name(), "the node needs three inputs and one output");
      return 1;
    }
    outputs[0] = inputs[0];
    return 0;
  }

  std::int32_t getOutputShapes(const DimsExprs* inputs, std::int32_t count, const DimsExprs*, std::int32_t,
                               DimsExprs* outputs, std::int32_t output_count, IExprBuilder& builder) noexcept override {
    if (output_count != 1) {
      log_error(name(), "the node needs one output");
      return 1;
    }
    return output_shape(*op_, inputs, count, builder, outputs[0], name()) ? 0 : 1;
  }

  bool supportsFormatCombination(std::int32_t position, const DynamicPluginTensorDesc* tensors, std::int32_t inputs,
                                 std::int32_t outputs) noexcept override {
    return supports(tensors, position, inputs, outputs);
  }

  std::int32_t configurePlugin(const DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                               const DynamicPluginTensorDesc* outputs, std::int32_t output_count) noexcept override {
    return check(inputs, input_count, outputs, output_count);
  }

  std::size_t getWorkspaceSize(const DynamicPluginTensorDesc*, std::int32_t, const DynamicPluginTensorDesc*,
                               std::int32_t) const noexcept override {
    return 0;
  }

  const char* getTimingCacheID() noexcept override { return timing_id_.c_str(); }

  // --- IPluginV3OneRuntime
  std::int32_t onShapeChange(const PluginTensorDesc* inputs, std::int32_t input_count, const PluginTensorDesc* outputs,
                             std::int32_t output_count) noexcept override {
    return check(inputs, input_count, outputs, output_count);
  }

  std::int32_t enqueue(const PluginTensorDesc* input_desc, const PluginTensorDesc* output_desc,
                       const void* const* inputs, void* const* outputs, void*, cudaStream_t stream) noexcept override {
    return run(*op_, input_desc, output_desc, inputs, outputs, stream, name()) ? 0 : 1;
  }

  IPluginV3* attachToContext(IPluginResourceContext*) noexcept override { return clone(); }

  const PluginFieldCollection* getFieldsToSerialize() noexcept override { return &fields_; }

 private:
  const char* name() const noexcept { return op_->rules().plugin; }

  template <typename Desc>
  std::int32_t check(const Desc* inputs, std::int32_t input_count, const Desc* outputs,
                     std::int32_t output_count) const noexcept {
    const auto fits = [&](Reason& reason) {
      Tensor tensors[kTensors];
      return tensors_of(inputs, input_count, outputs, output_count, tensors, reason) && op_->check(tensors, reason);
    };
    return guarded(name(), fits) ? 0 : 1;
  }

  std::unique_ptr<Operator> op_;
  std::vector<std::int32_t> state_;
  PluginField field_ = {};
  PluginFieldCollection fields_ = {};
  std::string timing_id_;
};

class Creator final : public IPluginCreatorV3One {
 public:
  explicit Creator(const OperatorKind& kind) : kind_(kind), names_(*kind.rules) {}

  IPluginV3* createPlugin(const char* node, const PluginFieldCollection* fields, TensorRTPhase) noexcept override {
    IPluginV3* plugin = nullptr;
    std::unique_ptr<Operator> op = create(kind_, fields, node);
    if (op == nullptr) return nullptr;
    guarded(node, [&](Reason&) {
      plugin = new Plugin(std::move(op));
      return true;
    });
    return plugin;
  }

  const PluginFieldCollection* getFieldNames() noexcept override { return names_.collection(); }
  const char* getPluginName() const noexcept override { return kind_.rules->plugin; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const char* getPluginNamespace() const noexcept override { return kNamespace; }

 private:
  const OperatorKind& kind_;
  FieldNames names_;
};

}  // namespace
}  // namespace tensorrt
}  // namespace dcnv3

extern "C" DCNV3_EXPORT nvinfer1::IPluginCreatorInterface* const* getCreators(std::int32_t& count) {
  static dcnv3::tensorrt::Creator dcnv3_creator(dcnv3::tensorrt::kDcnv3);
  static dcnv3::tensorrt::Creator attention_creator(dcnv3::tensorrt::kAttention);
  static nvinfer1::IPluginCreatorInterface* const creators[] = {&dcnv3_creator, &attention_creator};
  count = 2;
  return creators;
}
