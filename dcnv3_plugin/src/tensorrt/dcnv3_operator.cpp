// DCNv3 as a plugin: the node `internimage::DCNv3` of exported graphs.
#include <climits>

#include "dcnv3/dcnv3_cuda.h"
#include "operator.h"

namespace dcnv3 {
namespace tensorrt {
namespace {

constexpr std::int32_t kMost = INT32_MAX;

// In the order in which the exporter lists them.
enum Index {
  kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, group_channels, remove_center,
  offset_scale, count
};
constexpr FieldRule kRules[count] = {
    {"kernel_h", Kind::integer, true, 0, 1, DCNV3_CUDA_MAX_POINTS},
    {"kernel_w", Kind::integer, true, 0, 1, DCNV3_CUDA_MAX_POINTS},
    {"stride_h", Kind::integer, true, 0, 1, kMost},
    {"stride_w", Kind::integer, true, 0, 1, kMost},
    {"pad_h", Kind::integer, true, 0, 0, kMost},
    {"pad_w", Kind::integer, true, 0, 0, kMost},
    {"dilation_h", Kind::integer, true, 0, 1, kMost},
    {"dilation_w", Kind::integer, true, 0, 1, kMost},
    {"group", Kind::integer, true, 0, 1, kMost},
    {"group_channels", Kind::integer, true, 0, 1, kMost},
    {"remove_center", Kind::integer, false, 0, 0, 1},
    {"offset_scale", Kind::real, true, 0, 0, 0},
};
constexpr FieldRules kFields = {"DCNv3", 1, kRules, count};

class Dcnv3 final : public Operator {
 public:
  using Operator::Operator;

  const FieldRules& rules() const override { return kFields; }
  std::unique_ptr<Operator> clone() const override { return std::make_unique<Dcnv3>(*this); }

  // Along an axis: (size + 2 pad - (dilation (kernel - 1) + 1)) / stride, rounded down, + 1.
  bool output_shape(const SymbolicShape* inputs, int inputs_count, Sizes& sizes, SymbolicShape& output,
                    Reason& reason) const override {
    if (inputs_count != kInputs)
      return reason.refuse("DCNv3: there are %d inputs; give input, offset and mask", inputs_count);
    if (inputs[0].axes != 4)
      return reason.refuse("DCNv3: input has %d axes; give batch, height, width, channels", inputs[0].axes);
    output.axes = 4;
    for (int axis = 0; axis < 4; ++axis) output.sizes[axis] = inputs[0].sizes[axis];
    for (int side = 0; side < 2; ++side) {
      const auto room = sizes.sum(inputs[0].sizes[1 + side], sizes.constant(-needed(side)));
      const auto steps = sizes.floor_division(room, sizes.constant(value(stride_h, side)));
      output.sizes[1 + side] = sizes.sum(steps, sizes.constant(1));
    }
    return true;
  }

 protected:
  bool check_shapes(const Tensor* tensors, Reason& reason) const override {
    static const char* const names[] = {"input", "offset", "mask", "output"};
    for (int i = 0; i < kTensors; ++i)
      if (!check_axes("DCNv3", tensors[i], names[i], 4, reason)) return false;
    const std::int64_t groups = values().integer(group), points = points_of();
    const std::int64_t channels = groups * values().integer(group_channels);
    if (!check_size("DCNv3", tensors[0], names[0], 3, channels, "group * group_channels", reason) ||
        !check_size("DCNv3", tensors[1], names[1], 3, groups * points * 2, "group * points * 2", reason) ||
        !check_size("DCNv3", tensors[2], names[2], 3, groups * points, "group * points", reason) ||
        !check_size("DCNv3", tensors[3], names[3], 3, channels, "group * group_channels", reason))
      return false;
    for (int side = 0; side < 2; ++side) {
      const std::int64_t size = tensors[0].sizes[1 + side];
      if (size < 0) continue;
      if (size < 1 || size < needed(side))
        return reason.refuse("DCNv3: axis %d of input is %lld, with padding less than the kernel's reach of %lld; give "
                             "a larger input",
                             1 + side, static_cast<long long>(size), reach(side));
      const std::int64_t out = (size - needed(side)) / value(stride_h, side) + 1;
      for (int i = 1; i < kTensors; ++i)
        if (!check_size("DCNv3", tensors[i], names[i], 1 + side, out, "the output's size", reason)) return false;
    }
    for (int i = 1; i < kTensors; ++i)
      if (!check_size("DCNv3", tensors[i], names[i], 0, tensors[0].sizes[0], "the batch", reason)) return false;
    return true;
  }

  int launch(const Tensor* tensors, void* const* data, void* stream) const override {
    dcnv3_params p = {};
    p.struct_size = sizeof p;
    p.flags = values().integer(remove_center) ? DCNV3_REMOVE_CENTER : 0;
    p.batch = tensors[0].sizes[0];
    p.height = tensors[0].sizes[1];
    p.width = tensors[0].sizes[2];
    p.out_height = tensors[3].sizes[1];
    p.out_width = tensors[3].sizes[2];
    const struct {
      Index field;
      std::int32_t* to;
    } fields[] = {{kernel_h, &p.kernel_h},     {kernel_w, &p.kernel_w},     {stride_h, &p.stride_h},
                  {stride_w, &p.stride_w},     {pad_h, &p.pad_h},           {pad_w, &p.pad_w},
                  {dilation_h, &p.dilation_h}, {dilation_w, &p.dilation_w}, {group, &p.group},
                  {group_channels, &p.group_channels}};
    for (const auto& field : fields) *field.to = values().integer(field.field);
    p.offset_scale = values().real(offset_scale);
    dcnv3_array arrays[kTensors];
    for (int i = 0; i < kTensors; ++i) arrays[i] = {data[i], tensors[i].type, 0};
    const dcnv3_tensors inputs = {arrays[0], arrays[1], arrays[2], {}};
    return dcnv3_forward_cuda(&p, &inputs, arrays[3], stream);
  }

 private:
  // A field that there is for both sides: that of the height is followed by that of the width.
  std::int64_t value(Index field, int side) const { return values().integer(field + side); }
  long long reach(int side) const { return value(dilation_h, side) * (value(kernel_h, side) - 1) + 1; }
  std::int64_t needed(int side) const { return reach(side) - 2 * value(pad_h, side); }
  std::int64_t points_of() const {
    return value(kernel_h, 0) * value(kernel_h, 1) - values().integer(remove_center);
  }
};

std::unique_ptr<Operator> make(Values values, Reason& reason) {
  const std::int64_t taps = std::int64_t{values.integer(kernel_h)} * values.integer(kernel_w);
  if (taps > DCNV3_CUDA_MAX_POINTS) {
    reason.refuse("DCNv3: kernel_h * kernel_w is %lld; the kernels take at most %d", static_cast<long long>(taps),
                  DCNV3_CUDA_MAX_POINTS);
  } else if (values.integer(remove_center) != 0 && (taps % 2 == 0 || taps == 1)) {
    reason.refuse("DCNv3: remove_center is 1, but a kernel of %d x %d has no center to remove; set it to 0",
                  values.integer(kernel_h), values.integer(kernel_w));
  } else if (values.integer(group_channels) > kMost / values.integer(group)) {
    reason.refuse("DCNv3: group * group_channels is more than %d", kMost);
  } else if (std::int64_t{values.integer(dilation_h)} * values.integer(kernel_h) > kMost ||
             std::int64_t{values.integer(dilation_w)} * values.integer(kernel_w) > kMost) {
    reason.refuse("DCNv3: dilation * kernel is more than %d along an axis", kMost);
  } else {
    return std::make_unique<Dcnv3>(std::move(values));
  }
  return nullptr;
}

}  // namespace

const OperatorKind kDcnv3 = {&kFields, make};

}  // namespace tensorrt
}  // namespace dcnv3
