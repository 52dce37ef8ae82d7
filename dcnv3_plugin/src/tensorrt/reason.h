// Why something was refused: one sentence that names what, its value, and what to do. Never allocates, never throws.
#pragma once

#include <cstdarg>
#include <cstdio>

namespace dcnv3 {
namespace tensorrt {

class Reason {
 public:
  const char* text() const noexcept { return text_; }

  // Keeps a sentence as of printf; returns false, what those who refuse return.
  __attribute__((format(printf, 2, 3))) bool refuse(const char* format, ...) noexcept {
    std::va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(text_, sizeof text_, format, arguments);
    va_end(arguments);
    return false;
  }

 private:
  char text_[512] = "";
};

}  // namespace tensorrt
}  // namespace dcnv3
