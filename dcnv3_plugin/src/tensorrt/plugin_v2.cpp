// The plugins for TensorRT 8 (IPluginV2DynamicExt). From 8.6 on, IPluginRegistry::loadLibrary asks for
// getPluginCreators; 8.5 has no such function, there the library registers its creators when it is loaded.
#include <cstring>
#include <string>

#include "nvinfer.h"

// TensorRT 8 marks IPluginV2 as deprecated in favour of the class used here, which creators return as an IPluginV2.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace dcnv3 {
namespace tensorrt {
namespace {

using namespace nvinfer1;

class Plugin final : public IPluginV2DynamicExt {
 public:
  explicit Plugin(std::unique_ptr<Operator> op) : op_(std::move(op)) {
    state_ = write_state(op_->rules(), op_->values());
  }

  // --- IPluginV2
  const char* getPluginType() const noexcept override { return name(); }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  std::int32_t getNbOutputs() const noexcept override { return 1; }
  std::int32_t initialize() noexcept override { return 0; }
  void terminate() noexcept override {}
  std::size_t getSerializationSize() const noexcept override { return state_.size() * sizeof state_[0]; }
  void serialize(void* buffer) const noexcept override { std::memcpy(buffer, state_.data(), getSerializationSize()); }
  void destroy() noexcept override { delete this; }
  void setPluginNamespace(const char* text) noexcept override {
    guarded(name(), [&](Reason&) {
      namespace_ = text == nullptr ? "" : text;
      return true;
    });
  }
  const char* getPluginNamespace() const noexcept override { return namespace_.c_str(); }

  // --- IPluginV2Ext
  DataType getOutputDataType(std::int32_t, const DataType* inputs, std::int32_t) const noexcept override {
    return inputs[0];
  }

  // --- IPluginV2DynamicExt
  IPluginV2DynamicExt* clone() const noexcept override {
    Plugin* copy = nullptr;
    guarded(name(), [&](Reason&) {
      auto made = std::make_unique<Plugin>(op_->clone());
      made->namespace_ = namespace_;
      copy = made.release();
      return true;
    });
    return copy;
  }

  DimsExprs getOutputDimensions(std::int32_t, const DimsExprs* inputs, std::int32_t count,
                                IExprBuilder& builder) noexcept override {
    DimsExprs output = {};
    if (!output_shape(*op_, inputs, count, builder, output, name())) output.nbDims = -1;
    return output;
  }

  bool supportsFormatCombination(std::int32_t position, const PluginTensorDesc* tensors, std::int32_t inputs,
                                 std::int32_t outputs) noexcept override {
    return supports(tensors, position, inputs, outputs);
  }

  // Has no way to refuse: what is wrong is logged here, and enqueue, which checks again, fails.
  void configurePlugin(const DynamicPluginTensorDesc* inputs, std::int32_t input_count,
                       const DynamicPluginTensorDesc* outputs, std::int32_t output_count) noexcept override {
    guarded(name(), [&](Reason& reason) {
      Tensor tensors[kTensors];
      return tensors_of(inputs, input_count, outputs, output_count, tensors, reason) && op_->check(tensors, reason);
    });
  }

  std::size_t getWorkspaceSize(const PluginTensorDesc*, std::int32_t, const PluginTensorDesc*,
                               std::int32_t) const noexcept override {
    return 0;
  }

  std::int32_t enqueue(const PluginTensorDesc* input_desc, const PluginTensorDesc* output_desc,
                       const void* const* inputs, void* const* outputs, void*, cudaStream_t stream) noexcept override {
    return run(*op_, input_desc, output_desc, inputs, outputs, stream, name()) ? 0 : 1;
  }

 private:
  const char* name() const noexcept { return op_->rules().plugin; }

  std::unique_ptr<Operator> op_;
  std::vector<std::int32_t> state_;
  std::string namespace_ = kNamespace;
};

class Creator : public IPluginCreator {
 public:
  explicit Creator(const OperatorKind& kind) : kind_(kind), names_(*kind.rules) {}

  const char* getPluginName() const noexcept override { return kind_.rules->plugin; }
  const char* getPluginVersion() const noexcept override { return kVersion; }
  const PluginFieldCollection* getFieldNames() noexcept override { return names_.collection(); }

  IPluginV2* createPlugin(const char* node, const PluginFieldCollection* fields) noexcept override {
    return plugin_of(create(kind_, fields, node), node);
  }

  IPluginV2* deserializePlugin(const char* node, const void* state, std::size_t bytes) noexcept override {
    std::unique_ptr<Operator> op;
    guarded(node, [&](Reason& reason) {
      op = restore(kind_, state, bytes, reason);
      return op != nullptr;
    });
    return plugin_of(std::move(op), node);
  }

  void setPluginNamespace(const char* text) noexcept override {
    guarded(nullptr, [&](Reason&) {
      namespace_ = text == nullptr ? "" : text;
      return true;
    });
  }
  const char* getPluginNamespace() const noexcept override { return namespace_.c_str(); }

 private:
  IPluginV2* plugin_of(std::unique_ptr<Operator> op, const char* node) const noexcept {
    Plugin* plugin = nullptr;
    if (op == nullptr) return nullptr;
    guarded(node, [&](Reason&) {
      plugin = new Plugin(std::move(op));
      plugin->setPluginNamespace(namespace_.c_str());
      return true;
    });
    return plugin;
  }

  const OperatorKind& kind_;
  FieldNames names_;
  std::string namespace_ = kNamespace;
};

#if NV_TENSORRT_MINOR < 6
struct Dcnv3Creator final : Creator {
  Dcnv3Creator() : Creator(kDcnv3) {}
};
struct AttentionCreator final : Creator {
  AttentionCreator() : Creator(kAttention) {}
};
REGISTER_TENSORRT_PLUGIN(Dcnv3Creator);
REGISTER_TENSORRT_PLUGIN(AttentionCreator);
#endif

}  // namespace
}  // namespace tensorrt
}  // namespace dcnv3

#if NV_TENSORRT_MINOR >= 6
extern "C" DCNV3_EXPORT nvinfer1::IPluginCreator* const* getPluginCreators(std::int32_t& count) {
  static dcnv3::tensorrt::Creator dcnv3_creator(dcnv3::tensorrt::kDcnv3);
  static dcnv3::tensorrt::Creator attention_creator(dcnv3::tensorrt::kAttention);
  static nvinfer1::IPluginCreator* const creators[] = {&dcnv3_creator, &attention_creator};
  count = 2;
  return creators;
}
#endif
