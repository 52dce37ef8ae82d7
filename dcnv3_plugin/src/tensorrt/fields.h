// Fields of a plugin: what a node of a graph says about it. Rules, values, and their form within an engine.
//
// Nothing here knows TensorRT: all of it is tested without.
#pragma once

#include <cstdint>
#include <vector>

#include "reason.h"

namespace dcnv3 {
namespace tensorrt {

enum class Kind { integer, real, integers };

// What a field may hold. Integers lie within `least` and `most`, real numbers are finite.
struct FieldRule {
  const char* name;
  Kind kind;
  bool required;
  std::int32_t standard;  // of an integer that is not required
  std::int32_t least, most;
};

struct FieldRules {
  const char* plugin;
  std::uint32_t tag;  // which plugin an engine's state belongs to
  const FieldRule* rules;
  int count;
};

enum class FieldType { int32, int64, float32, float64, other };

// A field as a parser or program hands it over.
struct Field {
  const char* name;
  const void* data;
  FieldType type;
  std::int64_t length;
};

// Values of all fields of a plugin, in the order of their rules.
class Values {
 public:
  std::int32_t integer(int index) const { return words_[index][0]; }
  float real(int index) const;
  const std::vector<std::int32_t>& integers(int index) const { return words_[index]; }

 private:
  friend bool read_fields(const FieldRules&, const Field*, std::int64_t, Values&, Reason&);
  friend std::vector<std::int32_t> write_state(const FieldRules&, const Values&);
  friend bool read_state(const FieldRules&, const std::int32_t*, std::int64_t, Values&, Reason&);

  std::vector<std::vector<std::int32_t>> words_;  // a real number is the word of its float32
};

// Reads fields in any order. Refuses unknown, missing and repeated ones, and values that break their rule.
bool read_fields(const FieldRules& rules, const Field* fields, std::int64_t count, Values& values, Reason& reason);

// The name of the one field that holds a whole state, in engines of TensorRT 10 and later.
constexpr const char* kStateField = "dcnv3_state";

// Changes whenever a rule of a plugin does.
constexpr std::int32_t kStateVersion = 1;

// Returns values as an engine keeps them: words of 32 bits, the first four of which are magic, version, number of words
// and plugin.
std::vector<std::int32_t> write_state(const FieldRules& rules, const Values& values);

// Reads what write_state wrote. Refuses everything else: other versions, other plugins, other lengths, other rules.
bool read_state(const FieldRules& rules, const std::int32_t* words, std::int64_t count, Values& values, Reason& reason);

}  // namespace tensorrt
}  // namespace dcnv3
