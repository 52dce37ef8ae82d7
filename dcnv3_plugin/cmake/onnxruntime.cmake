# The custom operator of ONNX Runtime, where its C header is: any from version 1.16 on, nothing to link against.
find_path(DCNV3_ONNXRUNTIME_INCLUDE onnxruntime_c_api.h
  PATH_SUFFIXES onnxruntime onnxruntime/core/session
  DOC "Folder of ONNX Runtime's onnxruntime_c_api.h"
)
if(DCNV3_ONNXRUNTIME_INCLUDE)
  add_library(dcnv3_onnxruntime SHARED src/onnxruntime/custom_op.cpp)
  target_compile_features(dcnv3_onnxruntime PRIVATE cxx_std_17)
  target_compile_options(dcnv3_onnxruntime PRIVATE -fvisibility=hidden -Wall -Wextra)
  target_include_directories(dcnv3_onnxruntime SYSTEM PRIVATE ${DCNV3_ONNXRUNTIME_INCLUDE})
  target_link_libraries(dcnv3_onnxruntime PRIVATE dcnv3_cpu)
  # Both libraries lie in one folder, wherever that is.
  set_target_properties(dcnv3_onnxruntime PROPERTIES INSTALL_RPATH "$ORIGIN" BUILD_RPATH "$ORIGIN")
else()
  message(STATUS "dcnv3_plugin: no onnxruntime_c_api.h; ONNX Runtime runs DCNv3 as a function of standard operators")
endif()
