#include "fields.h"

#include <climits>
#include <cmath>
#include <cstring>

namespace dcnv3 {
namespace tensorrt {
namespace {

constexpr std::int32_t kMagic = 0x336e6364;  // "dcn3"
constexpr int kHeader = 4;
constexpr std::int64_t kMostWords = 1 << 16;

std::int32_t word_of(float value) {
  std::int32_t word;
  std::memcpy(&word, &value, sizeof word);
  return word;
}

float real_of(std::int32_t word) {
  float value;
  std::memcpy(&value, &word, sizeof value);
  return value;
}

template <typename N>
N at(const void* data, std::int64_t index) {
  N value;
  std::memcpy(&value, static_cast<const char*>(data) + index * static_cast<std::int64_t>(sizeof(N)), sizeof value);
  return value;
}

bool check_value(const char* plugin, const FieldRule& rule, const std::vector<std::int32_t>& words, Reason& reason) {
  if (rule.kind != Kind::integers && words.size() != 1)
    return reason.refuse("%s: field %s holds %zu values; give one", plugin, rule.name, words.size());
  if (words.empty()) return reason.refuse("%s: field %s is empty; give at least one value", plugin, rule.name);
  if (rule.kind == Kind::real) {
    if (std::isfinite(real_of(words[0]))) return true;
    return reason.refuse("%s: field %s is not a finite number; give one", plugin, rule.name);
  }
  for (const std::int32_t word : words)
    if (word < rule.least || word > rule.most)
      return reason.refuse("%s: field %s is %d; give %d to %d", plugin, rule.name, word, rule.least, rule.most);
  return true;
}

bool read_real(const char* plugin, const FieldRule& rule, const Field& field, std::vector<std::int32_t>& words,
               Reason& reason) {
  for (std::int64_t i = 0; i < field.length; ++i) {
    if (field.type != FieldType::float32 && field.type != FieldType::float64)
      return reason.refuse("%s: field %s is not a float32; write the node's attribute as a float", plugin, rule.name);
    words.push_back(word_of(field.type == FieldType::float32 ? at<float>(field.data, i)
                                                             : static_cast<float>(at<double>(field.data, i))));
  }
  return true;
}

bool read_integers(const char* plugin, const FieldRule& rule, const Field& field, std::vector<std::int32_t>& words,
                   Reason& reason) {
  for (std::int64_t i = 0; i < field.length; ++i) {
    if (field.type != FieldType::int32 && field.type != FieldType::int64)
      return reason.refuse("%s: field %s is not an int32; write the node's attribute as an integer", plugin, rule.name);
    const std::int64_t value =
        field.type == FieldType::int32 ? at<std::int32_t>(field.data, i) : at<std::int64_t>(field.data, i);
    if (value < INT32_MIN || value > INT32_MAX)
      return reason.refuse("%s: field %s is %lld; give %d to %d", plugin, rule.name, static_cast<long long>(value),
                           rule.least, rule.most);
    words.push_back(static_cast<std::int32_t>(value));
  }
  return true;
}

bool read_field(const FieldRules& rules, const Field& field, std::vector<std::vector<std::int32_t>>& all,
                Reason& reason) {
  for (int i = 0; i < rules.count; ++i) {
    const FieldRule& rule = rules.rules[i];
    if (std::strcmp(rule.name, field.name) != 0) continue;
    if (!all[i].empty()) return reason.refuse("%s: field %s comes twice; give it once", rules.plugin, rule.name);
    if (field.length < 1 || field.data == nullptr)
      return reason.refuse("%s: field %s is empty; give at least one value", rules.plugin, rule.name);
    if (field.length > kMostWords)
      return reason.refuse("%s: field %s holds %lld values; give at most %lld", rules.plugin, rule.name,
                           static_cast<long long>(field.length), static_cast<long long>(kMostWords));
    const auto read = rule.kind == Kind::real ? read_real : read_integers;
    return read(rules.plugin, rule, field, all[i], reason) && check_value(rules.plugin, rule, all[i], reason);
  }
  return reason.refuse("%s: there is no field '%s'; leave it out, or use the library that knows it", rules.plugin,
                       field.name);
}

}  // namespace

float Values::real(int index) const { return real_of(words_[index][0]); }

bool read_fields(const FieldRules& rules, const Field* fields, std::int64_t count, Values& values, Reason& reason) {
  std::vector<std::vector<std::int32_t>> all(static_cast<std::size_t>(rules.count));
  if (count > 0 && fields == nullptr)
    return reason.refuse("%s: %lld fields are announced, none is given", rules.plugin, static_cast<long long>(count));
  for (std::int64_t i = 0; i < count; ++i) {
    if (fields[i].name == nullptr)
      return reason.refuse("%s: field %lld has no name", rules.plugin, static_cast<long long>(i));
    if (!read_field(rules, fields[i], all, reason)) return false;
  }
  for (int i = 0; i < rules.count; ++i) {
    if (!all[i].empty()) continue;
    if (rules.rules[i].required)
      return reason.refuse("%s: field %s is missing; the node needs that attribute", rules.plugin, rules.rules[i].name);
    all[i].push_back(rules.rules[i].standard);
  }
  values.words_.swap(all);
  return true;
}

std::vector<std::int32_t> write_state(const FieldRules& rules, const Values& values) {
  std::vector<std::int32_t> state = {kMagic, kStateVersion, 0, static_cast<std::int32_t>(rules.tag)};
  for (const auto& words : values.words_) {
    state.push_back(static_cast<std::int32_t>(words.size()));
    state.insert(state.end(), words.begin(), words.end());
  }
  state[2] = static_cast<std::int32_t>(state.size());
  return state;
}

bool read_state(const FieldRules& rules, const std::int32_t* words, std::int64_t count, Values& values,
                Reason& reason) {
  const char* const advice = "build the engine anew with this library";
  if (words == nullptr || count < kHeader || words[0] != kMagic)
    return reason.refuse("%s: the engine holds no state of this plugin; %s", rules.plugin, advice);
  if (words[1] != kStateVersion)
    return reason.refuse("%s: the engine's state has version %d, this library reads %d; %s", rules.plugin, words[1],
                         kStateVersion, advice);
  if (words[2] != count)
    return reason.refuse("%s: the engine's state has %lld words instead of %d; %s", rules.plugin,
                         static_cast<long long>(count), words[2], advice);
  if (words[3] != static_cast<std::int32_t>(rules.tag))
    return reason.refuse("%s: the engine's state is that of another plugin (%d); %s", rules.plugin, words[3], advice);
  std::vector<std::vector<std::int32_t>> all;
  std::int64_t next = kHeader;
  for (int i = 0; i < rules.count; ++i) {
    const std::int64_t length = next < count ? words[next++] : -1;
    if (length < 1 || length > count - next)
      return reason.refuse("%s: the engine's state breaks off at %s; %s", rules.plugin, rules.rules[i].name, advice);
    all.emplace_back(words + next, words + next + length);
    next += length;
    if (!check_value(rules.plugin, rules.rules[i], all.back(), reason)) return false;
  }
  if (next != count) return reason.refuse("%s: the engine's state goes on after its end; %s", rules.plugin, advice);
  values.words_.swap(all);
  return true;
}

}  // namespace tensorrt
}  // namespace dcnv3
