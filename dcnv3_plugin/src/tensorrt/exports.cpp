// What the library says about itself, and how TensorRT gives it its log.
#include "nvinfer.h"

#define DCNV3_TEXT(number) #number
#define DCNV3_VERSION(major, minor, patch, build) \
  DCNV3_TEXT(major) "." DCNV3_TEXT(minor) "." DCNV3_TEXT(patch) "." DCNV3_TEXT(build)

// Returns the version of the headers that the library was built with.
extern "C" DCNV3_EXPORT const char* dcnv3_tensorrt_version() {
  return DCNV3_VERSION(NV_TENSORRT_MAJOR, NV_TENSORRT_MINOR, NV_TENSORRT_PATCH, NV_TENSORRT_BUILD);
}

#if NV_TENSORRT_MAJOR >= 9 || NV_TENSORRT_MINOR >= 6
extern "C" DCNV3_EXPORT void setLoggerFinder(nvinfer1::ILoggerFinder* finder) {
  dcnv3::tensorrt::logger_finder = finder;
}
#endif
