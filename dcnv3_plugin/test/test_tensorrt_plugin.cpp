// Shapes and formats of the TensorRT plugins, and what reaches the kernels, which are replaced by functions that write
// their arguments down.
#include <list>

#include "tensorrt_nodes.h"

namespace {

using namespace test;

// --- Sizes as formulas ----------------------------------------------------------------------------------------------
class Formulas final : public Sizes {
 public:
  Size constant(std::int64_t value) override { return &all_.emplace_back(Formula{'c', value, nullptr, nullptr}); }
  Size sum(Size a, Size b) override { return &all_.emplace_back(Formula{'+', 0, a, b}); }
  Size product(Size a, Size b) override { return &all_.emplace_back(Formula{'*', 0, a, b}); }
  Size floor_division(Size a, Size b) override { return &all_.emplace_back(Formula{'/', 0, a, b}); }

  static std::int64_t value(Size size) {
    const Formula& f = *static_cast<const Formula*>(size);
    if (f.kind == 'c') return f.constant;
    const std::int64_t a = value(f.a), b = value(f.b);
    if (f.kind == '+') return a + b;
    return f.kind == '*' ? a * b : static_cast<std::int64_t>(std::floor(static_cast<double>(a) / b));
  }

 private:
  struct Formula {
    char kind;
    std::int64_t constant;
    Size a, b;
  };
  std::list<Formula> all_;
};

// Counts the output's places by trying each: the first sample of the kernel's window, and the last, lie in the padded
// axis.
std::int64_t places(std::int64_t size, int kernel, int stride, int pad, int dilation) {
  std::int64_t count = 0;
  for (std::int64_t first = 0; first + std::int64_t{dilation} * (kernel - 1) < size + 2 * pad; first += stride) ++count;
  return count;
}

void test_shapes(Random& random, int round) {
  Node node;
  for (int side = 0; side < 2; ++side) {
    node.values[side] = {random.between(1, 7)};
    node.values[2 + side] = {random.between(1, 4)};
    node.values[4 + side] = {random.between(0, 5)};
    node.values[6 + side] = {random.between(1, 4)};
  }
  node.values[8] = {random.between(1, 6)};
  node.values[9] = {random.between(1, 9)};
  const bool odd = node.at(0) * node.at(1) % 2 == 1 && node.at(0) * node.at(1) > 1;
  node.values[10] = {odd && random.chance(2) ? 1 : 0};
  Reason reason;
  const auto op = node.make(reason);
  check(op != nullptr, "a sensible node is refused", round);
  if (op == nullptr) return;
  std::int64_t in[4] = {random.between(0, 3), random.between(1, 40), random.between(1, 40), node.at(8) * node.at(9)};
  // Often one of two neighbours: the least size with an output, and one less.
  for (int side = 0; side < 2; ++side) {
    const int least = node.at(6 + side) * (node.at(side) - 1) + 1 - 2 * node.at(4 + side);
    if (random.chance(3)) in[1 + side] = std::max(1, least - random.between(0, 1));
  }
  std::int64_t out[2];
  for (int side = 0; side < 2; ++side)
    out[side] = places(in[1 + side], node.at(side), node.at(2 + side), node.at(4 + side), node.at(6 + side));
  Formulas formulas;
  SymbolicShape shapes[3] = {{4, {}}, {4, {}}, {4, {}}}, made = {};
  for (int axis = 0; axis < 4; ++axis) shapes[0].sizes[axis] = formulas.constant(in[axis]);
  check(op->output_shape(shapes, 3, formulas, made, reason) && made.axes == 4, "no shape", round);
  const std::int64_t wanted[4] = {in[0], out[0], out[1], in[3]};
  for (int axis = 0; axis < 4; ++axis)
    if (axis == 0 || axis == 3 || out[axis - 1] > 0)
      check(Formulas::value(made.sizes[axis]) == wanted[axis], "another output shape than that of all places", round);
  check(!op->output_shape(shapes, 2, formulas, made, reason) && says(reason, "2 inputs"), "two inputs", round);

  const std::int64_t points = node.at(0) * node.at(1) - node.at(10);
  Tensor tensors[kTensors] = {
      {DCNV3_F16, true, 4, {in[0], in[1], in[2], in[3]}},
      {DCNV3_F32, true, 4, {in[0], out[0], out[1], node.at(8) * points * 2}},
      {DCNV3_F32, true, 4, {in[0], out[0], out[1], node.at(8) * points}},
      {DCNV3_F16, true, 4, {in[0], out[0], out[1], in[3]}},
  };
  char memory[4];
  void* data[] = {memory, memory + 1, memory + 2, memory + 3};
  if (out[0] < 1 || out[1] < 1) {
    check(!op->run(tensors, data, nullptr, reason) && says(reason, "reach"), "an output without places", round);
    return;
  }
  const int calls = note.calls;
  note.status = DCNV3_OK;
  check(op->run(tensors, data, memory, reason), "a call that fits is refused", round);
  check(note.calls == calls + 1 && note.stream == memory, "another stream, or no call", round);
  const dcnv3_params& p = note.params;
  const std::int64_t got[] = {p.kernel_h, p.kernel_w, p.stride_h, p.stride_w, p.pad_h, p.pad_w, p.dilation_h,
                              p.dilation_w, p.group, p.group_channels, p.flags & DCNV3_REMOVE_CENTER ? 1 : 0};
  for (int i = 0; i < kIntegers; ++i) check(got[i] == node.at(i), kNames[i], round);
  check(p.batch == in[0] && p.height == in[1] && p.width == in[2] && p.out_height == out[0] && p.out_width == out[1] &&
            p.struct_size == sizeof p,
        "sizes", round);
  for (int i = 0; i < kTensors; ++i)
    check(note.arrays[i].data == data[i] && note.arrays[i].type == tensors[i].type, "arrays", round);
  note.status = DCNV3_DEVICE_ERROR;
  check(!op->run(tensors, data, nullptr, reason) && says(reason, "no device"), "a status that gets lost", round);

  // Any single size that is off is found, and named.
  const int which = random.between(0, 3), axis = which == 0 ? 3 : random.between(0, 3);
  ++tensors[which].sizes[axis];
  check(!op->run(tensors, data, nullptr, reason) && says(reason, "axis"), "a wrong size", round);
  // One that is chosen later is no error before that, and one when the call runs.
  tensors[which].sizes[axis] = kUnknown;
  check(op->check(tensors, reason), "an open size", round);
  check(!op->run(tensors, data, nullptr, reason) && says(reason, "not known"), "an open size at run time", round);
}

void test_attention(Random& random, int round) {
  const int levels = random.between(1, 4), points = random.between(1, 5), heads = random.between(1, 4);
  std::vector<std::int32_t> sides(static_cast<std::size_t>(2 * levels));
  std::int64_t pixels = 0;
  for (int l = 0; l < levels; ++l) {
    sides[2 * l] = random.between(1, 9);
    sides[2 * l + 1] = random.between(1, 9);
    pixels += sides[2 * l] * sides[2 * l + 1];
  }
  Field field = {"spatial_shapes", sides.data(), FieldType::int32, 2 * levels};
  Reason reason;
  const auto op = create(kAttention, &field, 1, reason);
  check(op != nullptr, "sensible levels are refused", round);
  if (op == nullptr) return;
  const std::int64_t queries = random.between(1, 6);
  Tensor tensors[kTensors] = {{DCNV3_BF16, true, 4, {2, pixels, heads, 8}},
                              {DCNV3_BF16, true, 6, {2, queries, heads, levels, points, 2}},
                              {DCNV3_BF16, true, 5, {2, queries, heads, levels, points}},
                              {DCNV3_BF16, true, 3, {2, queries, heads * 8}}};
  Formulas formulas;
  SymbolicShape shapes[3] = {}, made = {};
  for (int i = 0; i < 3; ++i) {
    shapes[i].axes = tensors[i].axes;
    for (int axis = 0; axis < tensors[i].axes; ++axis)
      shapes[i].sizes[axis] = formulas.constant(tensors[i].sizes[axis]);
  }
  check(op->output_shape(shapes, 3, formulas, made, reason) && made.axes == 3, "no shape", round);
  for (int axis = 0; axis < made.axes; ++axis)
    check(Formulas::value(made.sizes[axis]) == tensors[3].sizes[axis], "another shape", round);
  note.status = DCNV3_OK;
  void* data[kTensors] = {};
  check(op->run(tensors, data, nullptr, reason), "attention that fits is refused", round);
  const int which = random.between(0, 3);
  // Channels and points are what the tensors say; the others have one value that fits.
  const int axis = which == 0 ? random.between(0, 1) : random.between(0, tensors[which].axes - 1);
  ++tensors[which].sizes[axis];
  check(!op->run(tensors, data, nullptr, reason) && says(reason, "axis"), "a wrong size", round);
  field.length = 2 * levels - 1;
  check(create(kAttention, &field, 1, reason) == nullptr && says(reason, "height and width"), "half a level", round);
}

void test_formats(Random&, int round) {
  constexpr std::int32_t types[] = {DCNV3_F32, DCNV3_F16, DCNV3_BF16, DCNV3_F64, kOtherType};
  std::string taken;
  for (const auto a : types)
    for (const auto b : types)
      for (const auto c : types)
        for (const auto d : types) {
          Tensor row[kTensors] = {{a, true, 4, {}}, {b, true, 4, {}}, {c, true, 4, {}}, {d, true, 4, {}}};
          bool all = true;
          for (int i = 0; i < kTensors; ++i) all = all && takes(row, i);
          if (all) taken += {static_cast<char>('0' + a), static_cast<char>('0' + b), static_cast<char>('0' + c),
                             static_cast<char>('0' + d), ' '};
        }
  // float32 0, float16 2, bfloat16 3.
  check(taken == "0000 2002 2222 3003 3333 ", "another table of types", round);
  for (int i = 0; i < kTensors; ++i) {
    Tensor row[kTensors] = {{0, true, 4, {}}, {0, true, 4, {}}, {0, true, 4, {}}, {0, true, 4, {}}};
    row[i].linear = false;
    check(!takes(row, i), "a format that is not row-major", round);
  }
  const Tensor row[kTensors] = {};
  check(!takes(row, -1) && !takes(row, kTensors), "a tensor that there is not", round);
}

void one(Random& random, int round) {
  test_shapes(random, round);
  test_attention(random, round);
  if (round == 0) test_formats(random, round);
}

}  // namespace

int main(int argc, char** argv) { return test::run(argc, argv, 400, one); }
