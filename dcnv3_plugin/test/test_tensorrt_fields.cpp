// Fields and states of the TensorRT plugins: what is read, what is refused, and with which words.
//
// Built with the address sanitizer (DCNV3_SANITIZE), any read beside a field or a state ends the program.
#include <climits>

#include "tensorrt_nodes.h"

namespace {

using namespace test;

void test_fields(Random& random, int round) {
  const struct {
    int index;
    std::int32_t value;
    const char* says;
  } wrong[] = {{0, 0, "kernel_h is 0"}, {1, -3, "kernel_w is -3"}, {2, 0, "stride_h is 0"}, {3, -1, "stride_w is -1"},
               {4, -1, "pad_h is -1"}, {5, INT32_MIN, "pad_w is -2147483648"}, {6, 0, "dilation_h is 0"},
               {7, 0, "dilation_w is 0"}, {8, 0, "group is 0"}, {9, 0, "group_channels is 0"},
               {10, 2, "remove_center is 2"}, {0, 500, "kernel_h * kernel_w"}, {9, INT32_MAX, "group * group_channels"},
               {6, INT32_MAX, "dilation * kernel"}};
  for (const auto& change : wrong) {
    Node node;
    node.values[change.index][0] = change.value;
    Reason reason;
    check(node.make(reason) == nullptr && says(reason, change.says) && says(reason, "DCNv3"), change.says, round);
  }
  Node node;
  Reason reason;
  node.scale[0] = random.chance(2) ? std::nanf("") : HUGE_VALF;
  check(node.make(reason) == nullptr && says(reason, "offset_scale"), "a scale that is no number", round);
  node = Node();
  node.values[10][0] = 1;
  node.values[0][0] = 2;
  check(node.make(reason) == nullptr && says(reason, "no center"), "an even kernel's center", round);

  const auto refuses = [&](std::vector<Field> fields, const char* part) {
    const auto made = create(kDcnv3, fields.data(), static_cast<std::int64_t>(fields.size()), reason);
    check(made == nullptr && says(reason, part), part, round);
  };
  node = Node();
  const auto all = node.fields();
  const auto which = static_cast<std::size_t>(random.between(0, kIntegers));
  auto fields = all;
  fields.erase(fields.begin() + static_cast<std::ptrdiff_t>(which));
  if (which == 10)
    check(create(kDcnv3, fields.data(), kIntegers, reason) != nullptr, "remove_center may be left out", round);
  else
    refuses(fields, (std::string(all[which].name) + " is missing").c_str());
  fields = all;
  fields.push_back(all[which]);
  refuses(fields, "comes twice");
  fields = all;
  fields[which].name = "im2col_step";
  refuses(fields, "no field 'im2col_step'");
  fields = all;
  fields[which].type = FieldType::other;
  refuses(fields, which == kIntegers ? "not a float32" : "not an int32");
  fields = all;
  fields[which].length = random.between(-1, 0);
  refuses(fields, "is empty");
  fields = all;
  fields[which].data = nullptr;
  refuses(fields, "is empty");
  fields = all;
  fields[which].name = nullptr;
  refuses(fields, "no name");
  const std::vector<std::int32_t> two = {3, 3};
  fields = all;
  fields[0] = {"kernel_h", two.data(), FieldType::int32, 2};
  refuses(fields, "holds 2 values");

  // Wider numbers are taken where their value fits.
  const std::vector<std::int64_t> wide = {5}, huge = {std::int64_t{1} << 40};
  const std::vector<double> exact = {0.5};
  fields = all;
  fields[0] = {"kernel_h", wide.data(), FieldType::int64, 1};
  fields[kIntegers] = {"offset_scale", exact.data(), FieldType::float64, 1};
  const auto made = create(kDcnv3, fields.data(), kIntegers + 1, reason);
  check(made != nullptr && made->values().integer(0) == 5 && made->values().real(kIntegers) == 0.5F, "wide", round);
  fields[0].data = huge.data();
  refuses(fields, "1099511627776");
}

void test_states(Random& random, int round) {
  Node node;
  node.values[0] = node.values[1] = {5};
  node.scale[0] = 0.25F;
  Reason reason;
  const auto op = node.make(reason);
  const auto state = write_state(op->rules(), op->values());
  const auto bytes = [](const std::vector<std::int32_t>& words) { return words.size() * sizeof words[0]; };
  const Field field = {kStateField, state.data(), FieldType::int32, static_cast<std::int64_t>(state.size())};
  for (const auto& again : {restore(kDcnv3, state.data(), bytes(state), reason), create(kDcnv3, &field, 1, reason),
                            op->clone()}) {
    check(again != nullptr && write_state(again->rules(), again->values()) == state, "a state that changes", round);
  }
  const struct {
    std::size_t word;
    const char* says;
  } headers[] = {{0, "no state of this plugin"}, {1, "has version"}, {2, "words instead of"}, {3, "another plugin"}};
  for (const auto& header : headers) {
    auto changed = state;
    ++changed[header.word];
    check(restore(kDcnv3, changed.data(), bytes(changed), reason) == nullptr && says(reason, header.says), header.says,
          round);
  }
  // Words 4 and 5 are the number of values of kernel_h, and its value.
  const auto refuses = [&](std::vector<std::int32_t> words, const char* part) {
    words[2] = static_cast<std::int32_t>(words.size());
    check(restore(kDcnv3, words.data(), bytes(words), reason) == nullptr && says(reason, part), part, round);
  };
  for (const std::int32_t length : {INT32_MAX, INT32_MIN, -1, 0}) {
    auto changed = state;
    changed[4] = length;
    refuses(changed, "breaks off at kernel_h");
  }
  refuses({state.begin(), state.end() - 1}, "breaks off at offset_scale");
  refuses({state.begin(), state.begin() + 4}, "breaks off at kernel_h");
  auto changed = state;
  changed.push_back(0);
  refuses(changed, "goes on after its end");
  changed = state;
  changed[5] = 0;
  refuses(changed, "kernel_h is 0");
  check(restore(kAttention, state.data(), bytes(state), reason) == nullptr, "the state of another plugin", round);
  check(restore(kDcnv3, nullptr, 16, reason) == nullptr, "no state at all", round);
  check(restore(kDcnv3, state.data(), bytes(state) - 1, reason) == nullptr, "a part of a word", round);
  // Any damage is refused, or gives values that keep the rules; nothing beside the words is read.
  std::vector<std::int32_t> damaged(state.begin(), state.begin() + random.between(0, static_cast<int>(state.size())));
  for (std::int32_t& word : damaged)
    if (random.chance(6)) word = random.between(-2, 40);
  if (damaged.size() > 2 && random.chance(2)) damaged[2] = static_cast<std::int32_t>(damaged.size());
  reason = Reason();
  const auto survivor = restore(kDcnv3, damaged.data(), bytes(damaged), reason);
  if (survivor == nullptr)
    check(says(reason, "DCNv3"), "damage without a reason", round);
  else
    check(write_state(survivor->rules(), survivor->values()) == damaged, "damage that is mended in secret", round);
}

void one(Random& random, int round) {
  test_fields(random, round);
  test_states(random, round);
}

}  // namespace

int main(int argc, char** argv) { return test::run(argc, argv, 400, one); }
