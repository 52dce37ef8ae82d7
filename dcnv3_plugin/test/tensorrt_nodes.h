// What the tests of the TensorRT plugins share: a node's fields, and kernels that only take notes of their arguments.
#pragma once

#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "dcnv3/dcnv3_cuda.h"
#include "dcnv3/msda_cuda.h"
#include "support.h"
#include "tensorrt/operator.h"

namespace test {

using namespace dcnv3::tensorrt;

// The last call of DCNv3, how many calls there were of any kernel, and what they return.
struct Note {
  int calls, status;
  dcnv3_params params;
  dcnv3_array arrays[kTensors];
  void* stream;
};
inline Note note;

constexpr const char* kNames[] = {"kernel_h", "kernel_w",   "stride_h", "stride_w",       "pad_h",         "pad_w",
                                  "dilation_h", "dilation_w", "group",  "group_channels", "remove_center"};
constexpr int kIntegers = 11;

// The fields of a DCNv3 node, each in memory of exactly its size.
struct Node {
  std::vector<std::int32_t> values[kIntegers];
  std::vector<float> scale;

  Node() : scale{1.0F} {
    constexpr int standard[] = {3, 3, 1, 1, 1, 1, 1, 1, 2, 4, 0};
    for (int i = 0; i < kIntegers; ++i) values[i] = {standard[i]};
  }
  int at(int index) const { return values[index][0]; }
  std::vector<Field> fields() const {
    std::vector<Field> all;
    for (int i = 0; i < kIntegers; ++i) all.push_back({kNames[i], values[i].data(), FieldType::int32, 1});
    all.push_back({"offset_scale", scale.data(), FieldType::float32, 1});
    return all;
  }
  std::unique_ptr<Operator> make(Reason& reason) const {
    const auto all = fields();
    return create(kDcnv3, all.data(), static_cast<std::int64_t>(all.size()), reason);
  }
};

inline bool says(const Reason& reason, const char* part) { return std::strstr(reason.text(), part) != nullptr; }

}  // namespace test

// In place of the library of CUDA kernels; one source file of a program includes this.
int dcnv3_forward_cuda(const dcnv3_params* params, const dcnv3_tensors* tensors, dcnv3_array output, void* stream) {
  test::note = {test::note.calls + 1,
                test::note.status,
                *params,
                {tensors->input, tensors->offset, tensors->mask, output},
                stream};
  return test::note.status;
}

int dcnv3_msda_forward_cuda(const dcnv3_msda_params*, const dcnv3_msda_tensors*, dcnv3_array, void*) {
  ++test::note.calls;
  return test::note.status;
}

const char* dcnv3_cuda_status_text(int status) { return status == DCNV3_DEVICE_ERROR ? "no device" : "refused"; }
