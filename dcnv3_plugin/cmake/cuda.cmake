# The CUDA kernels: for a GPU (libdcnv3_cuda), and the same sources for the host (libdcnv3_cuda_on_host, for tests).
#
#   DCNV3_CUDA                AUTO: if there is a compiler and it is known for which GPU; ON: or stop; OFF
#   DCNV3_CUDA_ARCHITECTURES  for instance 87 or 80;90; default: what nvidia-smi finds here
#   DCNV3_HOST_CUDA           build libdcnv3_cuda_on_host
set(DCNV3_CUDA AUTO CACHE STRING "Build the CUDA kernels: AUTO, ON or OFF")
set_property(CACHE DCNV3_CUDA PROPERTY STRINGS AUTO ON OFF)
set(DCNV3_CUDA_ARCHITECTURES "" CACHE STRING "Compute capabilities to build for, such as 87 or 80;90")
option(DCNV3_HOST_CUDA "Build the CUDA kernels for the host, to test them without a GPU" OFF)

set(dcnv3_inputs F32=float F16=f16 BF16=bf16)

# Compiles files once per type of input and adds the objects to a library.
function(dcnv3_add_cuda_kernels library)
  foreach(input IN LISTS dcnv3_inputs)
    string(REGEX MATCH "^(.+)=(.+)$" unused "${input}")
    set(type "${CMAKE_MATCH_2}")
    string(TOLOWER "${CMAKE_MATCH_1}" name)
    add_library(${library}_${name} OBJECT ${ARGN})
    target_compile_definitions(${library}_${name} PRIVATE DCNV3_INPUT=${type} DCNV3_PASSES=passes_${name})
    target_link_libraries(${library}_${name} PRIVATE ${library}_options)
    target_sources(${library} PRIVATE $<TARGET_OBJECTS:${library}_${name}>)
  endforeach()
  target_link_libraries(${library} PRIVATE ${library}_options)
  set_target_properties(${library} ${library}_f32 ${library}_f16 ${library}_bf16 PROPERTIES
    POSITION_INDEPENDENT_CODE ON CXX_VISIBILITY_PRESET hidden CUDA_VISIBILITY_PRESET hidden)
endfunction()

# Sets `architectures`, or `missing` to why there is nothing to build.
function(dcnv3_find_cuda)
  set(architectures "${DCNV3_CUDA_ARCHITECTURES}")
  if(NOT architectures)
    find_program(DCNV3_NVIDIA_SMI nvidia-smi)
    if(DCNV3_NVIDIA_SMI)
      execute_process(COMMAND ${DCNV3_NVIDIA_SMI} --query-gpu=compute_cap --format=csv,noheader
        OUTPUT_VARIABLE found ERROR_QUIET)
      string(REGEX MATCHALL "[0-9]+\\.[0-9]" architectures "${found}")
      list(TRANSFORM architectures REPLACE "\\." "")
      list(REMOVE_DUPLICATES architectures)
    endif()
  endif()
  set(missing "")
  if(NOT architectures)
    set(missing "no GPU here; -DDCNV3_CUDA_ARCHITECTURES=87 names the vehicle's")
  else()
    include(CheckLanguage)
    check_language(CUDA)
    if(NOT CMAKE_CUDA_COMPILER)
      set(missing "no CUDA compiler; CUDACXX=/path/to/nvcc names one")
    endif()
  endif()
  set(missing "${missing}" PARENT_SCOPE)
  set(architectures "${architectures}" PARENT_SCOPE)
endfunction()

if(DCNV3_CUDA)
  dcnv3_find_cuda()
  if(missing AND NOT DCNV3_CUDA STREQUAL "AUTO")
    message(FATAL_ERROR "dcnv3_plugin: DCNV3_CUDA=${DCNV3_CUDA}, but ${missing}")
  elseif(missing)
    message(STATUS "dcnv3_plugin: CUDA kernels are left out: ${missing}")
  else()
    message(STATUS "dcnv3_plugin: CUDA kernels for ${architectures}")
    set(CMAKE_CUDA_ARCHITECTURES "${architectures}")
    enable_language(CUDA)
    add_library(dcnv3_cuda_options INTERFACE)
    target_compile_features(dcnv3_cuda_options INTERFACE cuda_std_17)
    target_include_directories(dcnv3_cuda_options INTERFACE ${CMAKE_CURRENT_SOURCE_DIR}/include)
    add_library(dcnv3_cuda SHARED src/cuda/entry.cu src/cuda/msda_entry.cu src/cuda/roi_align_entry.cu)
    target_include_directories(dcnv3_cuda PUBLIC $<BUILD_INTERFACE:${CMAKE_CURRENT_SOURCE_DIR}/include>)
    dcnv3_add_cuda_kernels(dcnv3_cuda
      src/cuda/kernels.cu src/cuda/msda_kernels.cu src/cuda/roi_align_kernels.cu)
  endif()
endif()

if(DCNV3_HOST_CUDA)
  add_library(dcnv3_cuda_on_host_options INTERFACE)
  target_compile_features(dcnv3_cuda_on_host_options INTERFACE cxx_std_17)
  target_include_directories(dcnv3_cuda_on_host_options INTERFACE
    ${CMAKE_CURRENT_SOURCE_DIR}/include ${CMAKE_CURRENT_SOURCE_DIR}/src)
  target_compile_definitions(dcnv3_cuda_on_host_options INTERFACE DCNV3_ON_HOST)
  target_compile_options(dcnv3_cuda_on_host_options INTERFACE
    -O1 -ffp-contract=off -Wall -Wextra $<$<BOOL:${DCNV3_SANITIZE}>:-fsanitize=address,undefined -fno-sanitize-recover=all>)
  target_link_options(dcnv3_cuda_on_host_options INTERFACE $<$<BOOL:${DCNV3_SANITIZE}>:-fsanitize=address,undefined>)
  add_library(dcnv3_cuda_on_host SHARED
    src/host_shim/entry.cpp src/host_shim/msda_entry.cpp src/host_shim/roi_align_entry.cpp)
  dcnv3_add_cuda_kernels(dcnv3_cuda_on_host
    src/host_shim/kernels.cpp src/host_shim/msda_kernels.cpp src/host_shim/roi_align_kernels.cpp)
endif()
