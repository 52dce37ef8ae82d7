// Plays TensorRT for the plugin library on a machine without a GPU, compiled with the headers of one TensorRT version:
//
//   tensorrt_probe PLUGIN            takes the creators from the library itself
//   tensorrt_probe PLUGIN LIBNVINFER takes them from the registry of NVIDIA's own library
//
// The plugin is to be linked with the kernels for the host. tools/tensorrt_headers.py builds and runs all this.
#include <dlfcn.h>

#include <cstdio>
#include <cstring>
#include <memory>

#include "tensorrt_probe.h"

namespace {

using namespace probe;

int failures = 0;
Log probe_log;

void check(bool good, const char* what) {
  std::printf("%s %s\n", good ? "ok    " : "FAILED", what);
  if (!good) ++failures;
}

#if NV_TENSORRT_MAJOR >= 10 || NV_TENSORRT_MINOR >= 6
class Finder final : public ILoggerFinder {
 public:
  ILogger* findLogger() override { return &probe_log; }
};
Finder finder;
#endif

void* open_library(const char* path, int flags) {
  void* library = dlopen(path, RTLD_NOW | flags);
  if (library == nullptr) std::printf("FAILED dlopen: %s\n", dlerror());
  return library;
}

template <typename Function>
Function* function(void* library, const char* name) {
  return reinterpret_cast<Function*>(dlsym(library, name));
}

// The creator of a plugin, straight from the library, or from NVIDIA's registry after that has loaded it.
Creator* find_creator(void* plugin, IPluginRegistry* registry, const char* name) {
#if NV_TENSORRT_MAJOR >= 10
  if (registry != nullptr) return static_cast<Creator*>(registry->getCreator(name, "1", ""));
  std::int32_t count = 0;
  auto* const* all = function<IPluginCreatorInterface* const*(std::int32_t&)>(plugin, "getCreators")(count);
#else
  if (registry != nullptr) return registry->getPluginCreator(name, "1", "");
  std::int32_t count = 0;
  auto* const get = function<IPluginCreator* const*(std::int32_t&)>(plugin, "getPluginCreators");
  auto* const* all = get == nullptr ? nullptr : get(count);
#endif
  for (int i = 0; i < count; ++i) {
    auto* const creator = static_cast<Creator*>(all[i]);
    if (std::strcmp(creator->getPluginName(), name) == 0) return creator;
  }
  return nullptr;
}

struct Node {
  // kernel, stride, pad, dilation, each by height and width; group, group_channels, remove_center.
  std::int32_t values[11] = {1, 1, 2, 3, 0, 0, 1, 1, 2, 4, 0};
  float scale = 1.0F;

  std::vector<PluginField> fields() const {
    static const char* const names[] = {"kernel_h", "kernel_w",   "stride_h",   "stride_w", "pad_h",          "pad_w",
                                        "dilation_h", "dilation_w", "group", "group_channels", "remove_center"};
    std::vector<PluginField> all;
    for (int i = 0; i < 11; ++i) all.emplace_back(names[i], &values[i], PluginFieldType::kINT32, 1);
    all.emplace_back("offset_scale", &scale, PluginFieldType::kFLOAT32, 1);
    return all;
  }
};

Plugin* create(Creator& creator, const std::vector<PluginField>& fields) {
  return probe::create(creator, PluginFieldCollection{static_cast<std::int32_t>(fields.size()), fields.data()});
}

bool shape_is(Plugin& plugin, const std::vector<std::vector<int>>& inputs, const std::vector<int>& wanted) {
  Expressions builder;
  std::vector<DimsExprs> shapes;
  for (const auto& sizes : inputs) {
    DimsExprs shape = {};
    shape.nbDims = static_cast<std::int32_t>(sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i) shape.d[i] = builder.constant(sizes[i]);
    shapes.push_back(shape);
  }
  DimsExprs output = {};
  if (!shape(plugin, shapes, output, builder)) return false;
  if (output.nbDims != static_cast<std::int32_t>(wanted.size())) return false;
  for (std::size_t i = 0; i < wanted.size(); ++i)
    if (output.d[i] == nullptr || output.d[i]->getConstantValue() != wanted[i]) return false;
  return true;
}

// A kernel of one point without offsets copies every second row and third column, bit by bit, whatever the type.
template <typename Bits>
bool copies(Plugin& plugin, DataType type, Bits one) {
  const std::vector<int> in = {2, 5, 7, 8}, out = {2, 3, 3, 8};
  std::vector<Bits> value(2 * 5 * 7 * 8), offset(2 * 3 * 3 * 4, 0), mask(2 * 3 * 3 * 2, one), result(2 * 3 * 3 * 8);
  for (std::size_t i = 0; i < value.size(); ++i) value[i] = static_cast<Bits>(one + static_cast<Bits>(i));
  const std::vector<PluginTensorDesc> row = {desc_of(in, type), desc_of({2, 3, 3, 4}, type),
                                             desc_of({2, 3, 3, 2}, type), desc_of(out, type)};
  void* data[] = {value.data(), offset.data(), mask.data(), result.data()};
  for (int i = 0; i < 4; ++i)
    if (!supports(plugin, row, i)) return false;
  if (workspace(plugin, row) != 0 || !configure(plugin, row) || !enqueue(plugin, row, data)) return false;
  for (int n = 0; n < 2; ++n)
    for (int y = 0; y < 3; ++y)
      for (int x = 0; x < 3; ++x)
        for (int c = 0; c < 8; ++c)
          if (result[((n * 3 + y) * 3 + x) * 8 + c] != value[((n * 5 + 2 * y) * 7 + 3 * x) * 8 + c]) return false;
  return true;
}

void probe_dcnv3(Creator& creator, bool own_log) {
  const PluginFieldCollection* names = creator.getFieldNames();
  bool good = names != nullptr && names->nbFields == 12;
  const auto fields = Node().fields();
  for (int i = 0; good && i < 12; ++i)
    good = std::strcmp(names->fields[i].name, fields[i].name) == 0 && names->fields[i].type == fields[i].type;
  check(good, "DCNv3 announces its 12 fields");
  Node bad;
  bad.values[2] = 0;
  probe_log.last.clear();
  check(create(creator, bad.fields()) == nullptr, "a stride of 0 is refused");
  if (own_log) check(probe_log.last.find("stride_h is 0") != std::string::npos, "and the log says why");
  check(create(creator, std::vector<PluginField>{}) == nullptr, "a node without fields is refused");

  Plugin* const plugin = create(creator, fields);
  check(plugin != nullptr, "createPlugin with fields");
  if (plugin == nullptr) return;
  check(identity(*plugin) == "DCNv3/1/", "name, version, namespace");
  check(shape_is(*plugin, {{2, 5, 7, 8}, {2, 3, 3, 4}, {2, 3, 3, 2}}, {2, 3, 3, 8}), "output shape by IExprBuilder");
  check(!shape_is(*plugin, {{2, 5, 7, 8}}, {2, 3, 3, 8}), "one input is refused");
  const auto kept = state(*plugin);
  Plugin* const copy = static_cast<Plugin*>(plugin->clone());
  Plugin* const again = restore(creator, kept);
  check(copy != nullptr && state(*copy) == kept, "clone");
  check(again != nullptr && state(*again) == kept, "what an engine keeps makes the same plugin");
  auto damaged = kept;
  damaged[4] ^= 2;
  check(restore(creator, damaged) == nullptr, "another version's state is refused");
  for (Plugin* each : {plugin, copy, again}) {
    if (each == nullptr) continue;
    check(copies<std::uint32_t>(*each, DataType::kFLOAT, 0x3f800000), "enqueue, float32");
    check(copies<std::uint16_t>(*each, DataType::kHALF, 0x3c00), "enqueue, float16");
#if NV_TENSORRT_MAJOR >= 10
    check(copies<std::uint16_t>(*each, DataType::kBF16, 0x3f80), "enqueue, bfloat16");
#endif
  }
  std::vector<PluginTensorDesc> row(4, desc_of({2, 5, 7, 8}, DataType::kHALF));
  row[1].type = row[2].type = DataType::kFLOAT;
  check(supports(*plugin, row, 1) && supports(*plugin, row, 2) && supports(*plugin, row, 3),
        "float32 positions beside float16 values");
  row[2].type = DataType::kHALF;
  check(!supports(*plugin, row, 2), "offset and mask of different types are refused");
  row[0].format = TensorFormat::kHWC8;
  check(!supports(*plugin, row, 0), "kHWC8 is refused");
  row[0] = desc_of({2, 5, 7, 8}, DataType::kINT8);
  check(!supports(*plugin, row, 0), "int8 is refused");
  void* nothing[4] = {};
  check(!enqueue(*plugin, row, nothing), "a call that does not fit is refused, not run");
  for (Plugin* each : {plugin, copy, again})
    if (each != nullptr) destroy(each);
}

void probe_attention(Creator& creator) {
  const std::int32_t sides[] = {4, 6, 2, 3};
  Plugin* const plugin = create(creator, {PluginField("spatial_shapes", sides, PluginFieldType::kINT32, 4)});
  check(plugin != nullptr, "createPlugin of MultiScaleDeformableAttention");
  if (plugin == nullptr) return;
  check(shape_is(*plugin, {{2, 30, 2, 4}, {2, 5, 2, 2, 1, 2}, {2, 5, 2, 2, 1}}, {2, 5, 8}), "its output shape");
  // All samples at the first pixel's centre: half of its value from each level.
  std::vector<float> value(2 * 30 * 8, 3.0F), place, weight(2 * 5 * 2 * 2, 0.5F), result(2 * 5 * 8);
  for (int i = 0; i < 2 * 5 * 2; ++i) place.insert(place.end(), {0.5F / 6, 0.5F / 4, 0.5F / 3, 0.5F / 2});
  constexpr DataType type = DataType::kFLOAT;
  const std::vector<PluginTensorDesc> row = {desc_of({2, 30, 2, 4}, type), desc_of({2, 5, 2, 2, 1, 2}, type),
                                             desc_of({2, 5, 2, 2, 1}, type), desc_of({2, 5, 8}, type)};
  void* data[] = {value.data(), place.data(), weight.data(), result.data()};
  bool good = configure(*plugin, row) && enqueue(*plugin, row, data);
  for (const float number : result) good = good && number == 3.0F;
  check(good, "its enqueue, float32");
  destroy(plugin);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2 || argc > 3) return std::fprintf(stderr, "usage: %s PLUGIN [LIBNVINFER]\n", argv[0]), 2;
  IPluginRegistry* registry = nullptr;
  if (argc == 3) {
    void* const nvinfer = open_library(argv[2], RTLD_GLOBAL);
    if (nvinfer == nullptr) return 1;
    registry = function<IPluginRegistry*()>(nvinfer, "getPluginRegistry")();
    check(registry != nullptr, "NVIDIA's registry");
    if (registry == nullptr) return 1;
  }
#if NV_TENSORRT_MAJOR >= 10 || NV_TENSORRT_MINOR >= 6
  IPluginRegistry::PluginLibraryHandle handle = nullptr;
  if (registry != nullptr) {
    handle = registry->loadLibrary(argv[1]);
    check(handle != nullptr, "IPluginRegistry::loadLibrary");
  }
#endif
  void* const plugin = open_library(argv[1], RTLD_LOCAL);
  if (plugin == nullptr) return 1;
#if NV_TENSORRT_MAJOR >= 10 || NV_TENSORRT_MINOR >= 6
  if (registry == nullptr) function<void(ILoggerFinder*)>(plugin, "setLoggerFinder")(&finder);
#endif
  char version[64];
  std::snprintf(version, sizeof version, "%d.%d.%d.%d", NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH,
                NV_TENSORRT_BUILD);
  auto* const told = function<const char*()>(plugin, "dcnv3_tensorrt_version");
  check(told != nullptr && std::strcmp(told(), version) == 0, version);
  Creator* const dcnv3 = find_creator(plugin, registry, "DCNv3");
  Creator* const attention = find_creator(plugin, registry, "MultiScaleDeformableAttention");
  check(dcnv3 != nullptr && attention != nullptr, "both creators are found");
  if (dcnv3 != nullptr) probe_dcnv3(*dcnv3, registry == nullptr);
  if (attention != nullptr) probe_attention(*attention);
#if NV_TENSORRT_MAJOR >= 10 || NV_TENSORRT_MINOR >= 6
  if (handle != nullptr) {
    registry->deregisterLibrary(handle);
    check(find_creator(plugin, registry, "DCNv3") == nullptr, "deregisterLibrary");
  }
#endif
  std::printf("%d failures\n", failures);
  return failures == 0 ? 0 : 1;
}
