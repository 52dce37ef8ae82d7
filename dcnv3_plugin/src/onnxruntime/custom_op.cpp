// DCNv3 as a custom operator of ONNX Runtime on the CPU: the node `internimage::DCNv3` of exported graphs, which
// otherwise runs as a function of standard operators. Built against the C interface alone, as of version 16
// (ONNX Runtime 1.16), so that one build serves all later versions.
#include <onnxruntime_c_api.h>

#include <cstdint>
#include <mutex>
#include <new>

#include "dcnv3/dcnv3.h"

namespace {

constexpr std::uint32_t kVersion = 16;
constexpr int kInputs = 3, kDimensions = 4;

// What a node's kernel keeps: its arguments. Sizes are those of the tensors of each call.
struct Kernel {
  const OrtApi* api;
  dcnv3_params params;
};

OrtStatus* failure(const OrtApi* api, OrtErrorCode code, const char* text) { return api->CreateStatus(code, text); }

OrtStatus* read_attributes(Kernel& kernel, const OrtKernelInfo* info) {
  const OrtApi* api = kernel.api;
  dcnv3_params& p = kernel.params;
  const struct {
    const char* name;
    std::int32_t* value;
  } fields[] = {
      {"kernel_h", &p.kernel_h}, {"kernel_w", &p.kernel_w},     {"stride_h", &p.stride_h},
      {"stride_w", &p.stride_w}, {"pad_h", &p.pad_h},           {"pad_w", &p.pad_w},
      {"group", &p.group},       {"dilation_h", &p.dilation_h}, {"dilation_w", &p.dilation_w},
  };
  for (const auto& field : fields) {
    std::int64_t value = 0;
    if (OrtStatus* status = api->KernelInfoGetAttribute_int64(info, field.name, &value)) return status;
    *field.value = value < INT32_MIN || value > INT32_MAX ? -1 : static_cast<std::int32_t>(value);
  }
  std::int64_t removed = 0;
  if (OrtStatus* status = api->KernelInfoGetAttribute_int64(info, "remove_center", &removed)) return status;
  p.flags = removed ? DCNV3_REMOVE_CENTER : 0;
  float scale = 1.0F;
  if (OrtStatus* status = api->KernelInfoGetAttribute_float(info, "offset_scale", &scale)) return status;
  p.offset_scale = scale;
  return nullptr;
}

OrtStatus* ORT_API_CALL create(const OrtCustomOp*, const OrtApi* api, const OrtKernelInfo* info, void** out) {
  Kernel* kernel = new (std::nothrow) Kernel{api, {}};
  if (kernel == nullptr) return failure(api, ORT_FAIL, "internimage::DCNv3: out of memory");
  if (OrtStatus* status = read_attributes(*kernel, info)) {
    delete kernel;
    return status;
  }
  *out = kernel;
  return nullptr;
}

void ORT_API_CALL destroy(void* kernel) { delete static_cast<Kernel*>(kernel); }

// Reads the four sizes of a tensor.
OrtStatus* sizes_of(const OrtApi* api, const OrtValue* value, std::int64_t* sizes) {
  OrtTensorTypeAndShapeInfo* shape = nullptr;
  if (OrtStatus* status = api->GetTensorTypeAndShape(value, &shape)) return status;
  std::size_t count = 0;
  OrtStatus* status = api->GetDimensionsCount(shape, &count);
  if (status == nullptr && count != kDimensions)
    status = failure(api, ORT_INVALID_ARGUMENT, "internimage::DCNv3: input, offset and mask have four axes");
  if (status == nullptr) status = api->GetDimensions(shape, sizes, kDimensions);
  api->ReleaseTensorTypeAndShapeInfo(shape);
  return status;
}

OrtStatus* data_of(const OrtApi* api, OrtValue* value, dcnv3_array& array) {
  array.type = DCNV3_F32;
  return api->GetTensorMutableData(value, &array.data);
}

OrtStatus* ORT_API_CALL compute(void* state, OrtKernelContext* context) {
  const Kernel& kernel = *static_cast<const Kernel*>(state);
  const OrtApi* api = kernel.api;
  std::int64_t sizes[kInputs][kDimensions];
  dcnv3_array arrays[kInputs + 1] = {};
  for (int index = 0; index < kInputs; ++index) {
    const OrtValue* value = nullptr;
    if (OrtStatus* status = api->KernelContext_GetInput(context, index, &value)) return status;
    if (OrtStatus* status = sizes_of(api, value, sizes[index])) return status;
    // The interface has one way to a tensor's data; inputs are only read.
    if (OrtStatus* status = data_of(api, const_cast<OrtValue*>(value), arrays[index])) return status;
  }
  dcnv3_params p = kernel.params;
  const std::int64_t channels = sizes[0][3];
  const std::int64_t points =
      static_cast<std::int64_t>(p.kernel_h) * p.kernel_w - (p.flags & DCNV3_REMOVE_CENTER ? 1 : 0);
  bool fits = p.group > 0 && channels % p.group == 0 && channels / p.group <= INT32_MAX && points > 0;
  for (int axis = 0; axis < 3; ++axis) fits = fits && sizes[1][axis] == sizes[2][axis];
  fits = fits && sizes[1][0] == sizes[0][0] && sizes[1][3] == 2 * points * p.group && sizes[2][3] == points * p.group;
  if (!fits) return failure(api, ORT_INVALID_ARGUMENT, "internimage::DCNv3: the tensors' shapes do not fit together");
  p.struct_size = sizeof(p);
  p.batch = sizes[0][0];
  p.height = sizes[0][1];
  p.width = sizes[0][2];
  p.out_height = sizes[1][1];
  p.out_width = sizes[1][2];
  p.group_channels = static_cast<std::int32_t>(channels / p.group);
  const std::int64_t shape[kDimensions] = {p.batch, p.out_height, p.out_width, channels};
  OrtValue* output = nullptr;
  if (OrtStatus* status = api->KernelContext_GetOutput(context, 0, shape, kDimensions, &output)) return status;
  if (OrtStatus* status = data_of(api, output, arrays[kInputs])) return status;
  const dcnv3_tensors tensors = {arrays[0], arrays[1], arrays[2], {}};
  const int status = dcnv3_forward_cpu(&p, &tensors, arrays[kInputs]);
  return status == DCNV3_OK ? nullptr : failure(api, ORT_INVALID_ARGUMENT, dcnv3_status_text(status));
}

const char* ORT_API_CALL name(const OrtCustomOp*) { return "DCNv3"; }
const char* ORT_API_CALL provider(const OrtCustomOp*) { return "CPUExecutionProvider"; }
std::size_t ORT_API_CALL input_count(const OrtCustomOp*) { return kInputs; }
std::size_t ORT_API_CALL output_count(const OrtCustomOp*) { return 1; }
int ORT_API_CALL one(const OrtCustomOp*) { return 1; }
int ORT_API_CALL last(const OrtCustomOp*) { return INT32_MAX; }

ONNXTensorElementDataType ORT_API_CALL type(const OrtCustomOp*, std::size_t) {
  return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
}

OrtCustomOpInputOutputCharacteristic ORT_API_CALL required(const OrtCustomOp*, std::size_t) {
  return INPUT_OUTPUT_REQUIRED;
}

OrtMemType ORT_API_CALL memory(const OrtCustomOp*, std::size_t) { return OrtMemTypeDefault; }

// Fields that this version of the interface lacks, or that variadic operators need, stay null.
OrtCustomOp make_operator() {
  OrtCustomOp op = {};
  op.version = kVersion;
  op.GetName = name;
  op.GetExecutionProviderType = provider;
  op.GetInputType = type;
  op.GetInputTypeCount = input_count;
  op.GetOutputType = type;
  op.GetOutputTypeCount = output_count;
  op.GetInputCharacteristic = required;
  op.GetOutputCharacteristic = required;
  op.GetInputMemoryType = memory;
  op.GetVariadicInputMinArity = one;
  op.GetVariadicInputHomogeneity = one;
  op.GetVariadicOutputMinArity = one;
  op.GetVariadicOutputHomogeneity = one;
  op.CreateKernelV2 = create;
  op.KernelComputeV2 = compute;
  op.KernelDestroy = destroy;
  op.GetStartVersion = one;
  op.GetEndVersion = last;
  return op;
}

}  // namespace

// What ONNX Runtime calls in a library of custom operators. The domain lives as long as the process: sessions refer
// to it.
extern "C" DCNV3_EXPORT OrtStatus* ORT_API_CALL RegisterCustomOps(OrtSessionOptions* options,
                                                                  const OrtApiBase* base) {
  static const OrtCustomOp op = make_operator();
  const OrtApi* api = base->GetApi(kVersion);
  if (api == nullptr) return nullptr;  // an ONNX Runtime before 1.16; its own error names the missing operator
  static std::mutex mutex;
  static OrtCustomOpDomain* domain = nullptr;
  const std::lock_guard<std::mutex> lock(mutex);
  if (domain == nullptr) {
    OrtCustomOpDomain* made = nullptr;
    if (OrtStatus* status = api->CreateCustomOpDomain("internimage", &made)) return status;
    if (OrtStatus* status = api->CustomOpDomain_Add(made, &op)) return status;
    domain = made;
  }
  return api->AddCustomOpDomain(options, domain);
}
