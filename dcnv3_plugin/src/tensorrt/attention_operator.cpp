// Multi-scale deformable attention as a plugin: inputs value, sampling locations and weights as in dcnv3/msda.h. The
// levels' sizes are a field, fixed with the graph: the kernels need them on the host, and asking the device would stop
// the stream.
#include <climits>

#include "dcnv3/dcnv3_cuda.h"
#include "dcnv3/msda_cuda.h"
#include "operator.h"

namespace dcnv3 {
namespace tensorrt {
namespace {

constexpr char kName[] = "MultiScaleDeformableAttention";
constexpr FieldRule kRules[] = {{"spatial_shapes", Kind::integers, true, 0, 1, 1 << 24}};
constexpr FieldRules kFields = {kName, 2, kRules, 1};
constexpr std::int64_t kMostPixels = INT32_MAX;

// Tensors of axes batch, pixels, heads, channels; batch, queries, heads, levels, points, 2; the same without 2.
class Attention final : public Operator {
 public:
  Attention(Values values, std::vector<std::int64_t> starts, std::int64_t pixels)
      : Operator(std::move(values)), starts_(std::move(starts)), pixels_(pixels) {
    const auto& words = this->values().integers(0);
    shapes_.assign(words.begin(), words.end());
  }

  const FieldRules& rules() const override { return kFields; }
  std::unique_ptr<Operator> clone() const override { return std::make_unique<Attention>(*this); }

  bool output_shape(const SymbolicShape* inputs, int count, Sizes& sizes, SymbolicShape& output,
                    Reason& reason) const override {
    if (count != kInputs)
      return reason.refuse("%s: there are %d inputs; give value, sampling_locations and attention_weights", kName,
                           count);
    if (inputs[0].axes != 4 || inputs[1].axes != 6)
      return reason.refuse("%s: value has %d axes and sampling_locations %d; give 4 and 6", kName, inputs[0].axes,
                           inputs[1].axes);
    output.axes = 3;
    output.sizes[0] = inputs[0].sizes[0];
    output.sizes[1] = inputs[1].sizes[1];
    output.sizes[2] = sizes.product(inputs[0].sizes[2], inputs[0].sizes[3]);
    return true;
  }

 protected:
  bool check_shapes(const Tensor* tensors, Reason& reason) const override {
    static const char* const names[] = {"value", "sampling_locations", "attention_weights", "output"};
    constexpr int axes[] = {4, 6, 5, 3};
    for (int i = 0; i < kTensors; ++i)
      if (!check_axes(kName, tensors[i], names[i], axes[i], reason)) return false;
    const std::int64_t *value = tensors[0].sizes, *location = tensors[1].sizes;
    if (!check_size(kName, tensors[0], names[0], 1, pixels_, "the sum over spatial_shapes", reason) ||
        !check_size(kName, tensors[1], names[1], 2, value[2], "the number of heads", reason) ||
        !check_size(kName, tensors[1], names[1], 3, levels(), "the number of levels in spatial_shapes", reason) ||
        !check_size(kName, tensors[1], names[1], 5, 2, "the number of coordinates", reason))
      return false;
    for (int axis = 1; axis < 5; ++axis)
      if (!check_size(kName, tensors[2], names[2], axis, location[axis], "that axis of sampling_locations", reason))
        return false;
    const std::int64_t channels = value[2] < 0 || value[3] < 0 ? kUnknown : value[2] * value[3];
    if (!check_size(kName, tensors[3], names[3], 1, location[1], "the number of queries", reason) ||
        !check_size(kName, tensors[3], names[3], 2, channels, "heads * channels", reason))
      return false;
    for (int i = 1; i < kTensors; ++i)
      if (!check_size(kName, tensors[i], names[i], 0, value[0], "the batch", reason)) return false;
    return true;
  }

  int launch(const Tensor* tensors, void* const* data, void* stream) const override {
    const std::int64_t *value = tensors[0].sizes, *location = tensors[1].sizes;
    for (const std::int64_t size : {value[2], value[3], location[4]})
      if (size > INT32_MAX) return DCNV3_UNSUPPORTED;
    dcnv3_msda_params p = {};
    p.struct_size = sizeof p;
    p.batch = value[0];
    p.pixels = value[1];
    p.queries = location[1];
    p.heads = static_cast<std::int32_t>(value[2]);
    p.channels = static_cast<std::int32_t>(value[3]);
    p.levels = static_cast<std::int32_t>(levels());
    p.points = static_cast<std::int32_t>(location[4]);
    p.shapes = shapes_.data();
    p.starts = starts_.data();
    dcnv3_array arrays[kTensors];
    for (int i = 0; i < kTensors; ++i) arrays[i] = {data[i], tensors[i].type, 0};
    const dcnv3_msda_tensors inputs = {arrays[0], arrays[1], arrays[2]};
    return dcnv3_msda_forward_cuda(&p, &inputs, arrays[3], stream);
  }

 private:
  std::int64_t levels() const { return static_cast<std::int64_t>(starts_.size()); }

  std::vector<std::int64_t> shapes_, starts_;
  std::int64_t pixels_;
};

std::unique_ptr<Operator> make(Values values, Reason& reason) {
  const auto& sides = values.integers(0);
  if (sides.size() % 2 != 0 || sides.size() > 2 * DCNV3_MSDA_CUDA_MAX_LEVELS) {
    reason.refuse("%s: field spatial_shapes holds %zu values; give height and width of 1 to %d levels", kName,
                  sides.size(), DCNV3_MSDA_CUDA_MAX_LEVELS);
    return nullptr;
  }
  std::vector<std::int64_t> starts;
  std::int64_t pixels = 0;
  for (std::size_t i = 0; i < sides.size(); i += 2) {
    starts.push_back(pixels);
    pixels += std::int64_t{sides[i]} * sides[i + 1];
  }
  if (pixels > kMostPixels) {
    reason.refuse("%s: the levels of field spatial_shapes have %lld pixels; the kernels take at most %lld", kName,
                  static_cast<long long>(pixels), static_cast<long long>(kMostPixels));
    return nullptr;
  }
  return std::make_unique<Attention>(std::move(values), std::move(starts), pixels);
}

}  // namespace

const OperatorKind kAttention = {&kFields, make};

}  // namespace tensorrt
}  // namespace dcnv3
