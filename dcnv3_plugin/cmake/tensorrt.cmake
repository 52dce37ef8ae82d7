# The TensorRT plugin, libdcnv3_tensorrt8, ...10 or ...11 by TensorRT's major version: each has other interfaces.
#
#   DCNV3_TENSORRT  AUTO: where TensorRT's headers and the CUDA kernels are; ON: or stop; OFF
#   TENSORRT_ROOT   folder of a TensorRT archive, also as an environment variable; otherwise found where JetPack, apt
#                   and the usual places for archives put it
#
# What needs no TensorRT (fields, shapes, states, formats, calls) is compiled everywhere, and tested with kernels for the
# host where DCNV3_HOST_CUDA is on.
set(DCNV3_TENSORRT AUTO CACHE STRING "Build the TensorRT plugin: AUTO, ON or OFF")
set_property(CACHE DCNV3_TENSORRT PROPERTY STRINGS AUTO ON OFF)
set(TENSORRT_ROOT "" CACHE PATH "Folder of TensorRT, with include/NvInfer.h")

add_library(dcnv3_tensorrt_options INTERFACE)
target_compile_features(dcnv3_tensorrt_options INTERFACE cxx_std_17)
target_include_directories(dcnv3_tensorrt_options INTERFACE
  ${CMAKE_CURRENT_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR}/src)
target_compile_options(dcnv3_tensorrt_options INTERFACE
  -fvisibility=hidden -Wall -Wextra
  $<$<BOOL:${DCNV3_SANITIZE}>:-fsanitize=address,undefined -fno-omit-frame-pointer -fno-sanitize-recover=all>
)
target_link_options(dcnv3_tensorrt_options INTERFACE $<$<BOOL:${DCNV3_SANITIZE}>:-fsanitize=address,undefined>)

add_library(dcnv3_tensorrt_core OBJECT
  src/tensorrt/fields.cpp src/tensorrt/operator.cpp src/tensorrt/dcnv3_operator.cpp src/tensorrt/attention_operator.cpp)
set_target_properties(dcnv3_tensorrt_core PROPERTIES POSITION_INDEPENDENT_CODE ON)
target_link_libraries(dcnv3_tensorrt_core PRIVATE dcnv3_tensorrt_options)

if(DCNV3_HOST_CUDA)
  add_library(dcnv3_tensorrt_on_host SHARED src/host_shim/tensorrt.cpp $<TARGET_OBJECTS:dcnv3_tensorrt_core>)
  target_link_libraries(dcnv3_tensorrt_on_host PRIVATE dcnv3_cuda_on_host dcnv3_tensorrt_options)
  set_target_properties(dcnv3_tensorrt_on_host PROPERTIES BUILD_RPATH "$ORIGIN")
endif()

# Sets `version` to that of NvInferVersion.h in a folder, such as 10.3. Newer headers name the numbers indirectly.
function(dcnv3_tensorrt_version folder)
  file(STRINGS "${folder}/NvInferVersion.h" lines REGEX "define (NV_TENSORRT|TRT)_(MAJOR|MINOR)")
  foreach(part IN ITEMS MAJOR MINOR)
    string(REGEX MATCH "(NV_TENSORRT_${part}|TRT_${part}_ENTERPRISE) +([0-9]+)" unused "${lines}")
    set(${part} "${CMAKE_MATCH_2}")
  endforeach()
  set(version "${MAJOR}.${MINOR}" PARENT_SCOPE)
endfunction()

# Sets `missing` to why there is nothing to build, else DCNV3_TENSORRT_INCLUDE, DCNV3_CUDA_RUNTIME_INCLUDE, `version`
# and, where the plugin has to be linked to it, DCNV3_NVINFER.
function(dcnv3_find_tensorrt)
  file(GLOB archives LIST_DIRECTORIES true
    /usr/local/TensorRT* /usr/local/tensorrt* /opt/TensorRT* /opt/tensorrt* /opt/nvidia/tensorrt*)
  # The newest of several.
  list(SORT archives COMPARE NATURAL ORDER DESCENDING)
  set(triplet ${CMAKE_SYSTEM_PROCESSOR}-linux-gnu)
  set(root ${TENSORRT_ROOT} $ENV{TENSORRT_ROOT})
  set(places ${root} ${archives})
  set(only "")
  if(root)
    # Another TensorRT than the one that was named would be worse than none.
    set(only NO_DEFAULT_PATH)
    set(places ${root})
  endif()
  find_path(DCNV3_TENSORRT_INCLUDE NvInferVersion.h HINTS ${places}
    PATH_SUFFIXES include ${triplet} include/${triplet} targets/${triplet}/include
    DOC "Folder of TensorRT's NvInfer.h" ${only})
  find_path(DCNV3_CUDA_RUNTIME_INCLUDE cuda_runtime_api.h
    HINTS ${CMAKE_CUDA_TOOLKIT_INCLUDE_DIRECTORIES} ENV CUDA_HOME /usr/local/cuda PATH_SUFFIXES include
    DOC "Folder of CUDA's cuda_runtime_api.h")
  set(missing "")
  set(version "")
  if(NOT TARGET dcnv3_cuda)
    set(missing "it needs the CUDA kernels, which are left out too")
  elseif(NOT DCNV3_TENSORRT_INCLUDE AND root)
    list(JOIN root " and " named)
    set(missing "no NvInfer.h in ${named}, named by TENSORRT_ROOT; name the folder that holds include/NvInfer.h")
  elseif(NOT DCNV3_TENSORRT_INCLUDE)
    set(missing "no NvInfer.h; install libnvinfer-dev, or -DTENSORRT_ROOT=/path/to/TensorRT names an archive's folder")
  elseif(NOT DCNV3_CUDA_RUNTIME_INCLUDE)
    set(missing "no cuda_runtime_api.h; CUDA_HOME names CUDA's folder")
  else()
    dcnv3_tensorrt_version("${DCNV3_TENSORRT_INCLUDE}")
    if(version VERSION_LESS 8.5 OR (version VERSION_GREATER_EQUAL 9 AND version VERSION_LESS 10))
      set(missing "TensorRT ${version} in ${DCNV3_TENSORRT_INCLUDE}; 8.5, 8.6, 10 or newer is needed")
    elseif(version VERSION_LESS 8.6)
      # TensorRT 8.5 loads no plugin libraries: this one registers itself, and so refers to libnvinfer.
      find_library(DCNV3_NVINFER NAMES nvinfer libnvinfer.so.8 HINTS ${places}
        PATH_SUFFIXES lib lib/${triplet} targets/${triplet}/lib DOC "TensorRT's libnvinfer")
      if(NOT DCNV3_NVINFER)
        set(missing "no libnvinfer beside TensorRT ${version}'s headers; install libnvinfer-dev")
      endif()
    endif()
  endif()
  set(missing "${missing}" PARENT_SCOPE)
  set(version "${version}" PARENT_SCOPE)
endfunction()

if(DCNV3_TENSORRT)
  dcnv3_find_tensorrt()
  if(missing AND NOT DCNV3_TENSORRT STREQUAL "AUTO")
    message(FATAL_ERROR "dcnv3_plugin: DCNV3_TENSORRT=${DCNV3_TENSORRT}, but ${missing}")
  elseif(missing)
    message(STATUS "dcnv3_plugin: the TensorRT plugin is left out: ${missing}")
  else()
    message(STATUS "dcnv3_plugin: plugin for TensorRT ${version} in ${DCNV3_TENSORRT_INCLUDE}")
    string(REGEX MATCH "^[0-9]+" major ${version})
    set(interface plugin_v3)
    if(major EQUAL 8)
      set(interface plugin_v2)
    endif()
    add_library(dcnv3_tensorrt SHARED
      src/tensorrt/${interface}.cpp src/tensorrt/exports.cpp $<TARGET_OBJECTS:dcnv3_tensorrt_core>)
    target_include_directories(dcnv3_tensorrt SYSTEM PRIVATE
      ${DCNV3_TENSORRT_INCLUDE} ${DCNV3_CUDA_RUNTIME_INCLUDE})
    target_link_libraries(dcnv3_tensorrt PRIVATE dcnv3_cuda dcnv3_tensorrt_options)
    if(version VERSION_LESS 8.6)
      target_link_libraries(dcnv3_tensorrt PRIVATE ${DCNV3_NVINFER})
    endif()
    # The kernels' library lies in the same folder, wherever that is.
    set_target_properties(dcnv3_tensorrt PROPERTIES
      OUTPUT_NAME dcnv3_tensorrt${major} BUILD_RPATH "$ORIGIN" INSTALL_RPATH "$ORIGIN")
  endif()
endif()
