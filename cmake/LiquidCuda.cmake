# What of CUDA is built. LIQUID_CUDA is one of
#   ON        host code against NVIDIA's libraries, kernels by nvcc
#   EMULATED  host code and kernels against tests/emulated_cuda, for machines without nvcc and for
#             sanitizer builds, which nvcc cannot make
#   OFF       nothing
#   AUTO      the first of these that is possible
# With ON the emulation is built besides, for tests: it takes the place of NVIDIA's libraries when
# a program is started with LD_LIBRARY_PATH=build/<preset>/emulated.
#
# Sets LIQUID_HAS_CUDA (host code is built), LIQUID_HAS_NVCC, LIQUID_HAS_EMULATION, and defines
#   liquid::cudart liquid::nccl   the libraries, NVIDIA's or emulated; cuBLASLt is loaded at run time
#   liquid::cuda_kernels                           libliquid_cuda_kernels.so, with liquid::cudart
set(LIQUID_CUDA AUTO CACHE STRING "CUDA backend: AUTO, ON, EMULATED or OFF")
set_property(CACHE LIQUID_CUDA PROPERTY STRINGS AUTO ON EMULATED OFF)
set(LIQUID_EMULATED_DIRECTORY ${PROJECT_BINARY_DIR}/emulated)

set(LIQUID_HAS_CUDA FALSE)
set(LIQUID_HAS_NVCC FALSE)
set(LIQUID_HAS_EMULATION FALSE)

# Headers: NVIDIA's own in every case. What is emulated has the prototypes of CUDA 13.
find_package(CUDAToolkit QUIET)
find_path(LIQUID_CUDART_INCLUDE cuda_runtime_api.h
  HINTS ${CUDAToolkit_INCLUDE_DIRS} ENV CUDA_HOME PATHS /usr/local/cuda PATH_SUFFIXES include)
find_path(LIQUID_CUBLASLT_INCLUDE cublasLt.h HINTS ${LIQUID_CUDART_INCLUDE})
find_path(LIQUID_NCCL_INCLUDE nccl.h HINTS ${LIQUID_CUDART_INCLUDE})
find_library(LIQUID_NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
find_path(LIQUID_BOOST_INCLUDE boost/context/detail/fcontext.hpp)
find_library(LIQUID_BOOST_CONTEXT_LIBRARY boost_context)

function(_liquid_cuda_missing result)
  set(missing "")
  if(NOT LIQUID_CUDART_INCLUDE OR NOT LIQUID_CUBLASLT_INCLUDE)
    list(APPEND missing "CUDA's headers")
  else()
    file(STRINGS ${LIQUID_CUDART_INCLUDE}/cuda_runtime_api.h line REGEX "define CUDART_VERSION ")
    if(NOT line MATCHES "CUDART_VERSION +1[3-9]")
      list(APPEND missing "CUDA 13")
    endif()
  endif()
  if(NOT LIQUID_NCCL_INCLUDE)
    list(APPEND missing "nccl.h")
  endif()
  set(${result} "${missing}" PARENT_SCOPE)
endfunction()
_liquid_cuda_missing(no_headers)
set(no_emulation ${no_headers})
if(NOT LIQUID_BOOST_INCLUDE OR NOT LIQUID_BOOST_CONTEXT_LIBRARY)
  list(APPEND no_emulation libboost-context-dev)
endif()
set(no_nvcc ${no_headers})
if(NOT CUDAToolkit_NVCC_EXECUTABLE OR NOT TARGET CUDA::cudart OR NOT TARGET CUDA::cublasLt)
  list(APPEND no_nvcc nvcc)
endif()
if(NOT LIQUID_NCCL_LIBRARY)
  list(APPEND no_nvcc libnccl)
endif()
if(LIQUID_SANITIZER)
  list(APPEND no_nvcc "a build without sanitizer")
endif()
if(LIQUID_SANITIZER STREQUAL "fuzzer")
  list(APPEND no_emulation "a build without fuzzer")
endif()

list(JOIN no_nvcc ", " no_nvcc)
list(JOIN no_emulation ", " no_emulation)
set(choice ${LIQUID_CUDA})
set(summary "")
if(choice STREQUAL "AUTO")
  if(NOT no_nvcc)
    set(choice ON)
  elseif(NOT no_emulation)
    set(choice EMULATED)
    set(summary " (ON needs ${no_nvcc})")
  else()
    set(choice OFF)
    set(summary " (EMULATED needs ${no_emulation})")
  endif()
elseif(choice STREQUAL "ON" AND no_nvcc)
  message(FATAL_ERROR "LIQUID_CUDA=ON needs ${no_nvcc}")
elseif(choice STREQUAL "EMULATED" AND no_emulation)
  message(FATAL_ERROR "LIQUID_CUDA=EMULATED needs ${no_emulation}")
elseif(NOT choice MATCHES "^(ON|EMULATED|OFF)$")
  message(FATAL_ERROR "LIQUID_CUDA is '${choice}': use AUTO, ON, EMULATED or OFF")
endif()
if(choice STREQUAL "ON")
  set(LIQUID_HAS_NVCC TRUE)
endif()
if(NOT choice STREQUAL "OFF")
  set(LIQUID_HAS_CUDA TRUE)
  if(NOT no_emulation)
    set(LIQUID_HAS_EMULATION TRUE)
  endif()
endif()
if(choice STREQUAL "ON" AND no_emulation)
  set(summary ", without emulation for tests (it needs ${no_emulation})")
endif()
message(STATUS "CUDA: ${choice}${summary}")

if(LIQUID_HAS_NVCC)
  # PTX of the newest as well, for GPUs to come.
  set(CMAKE_CUDA_ARCHITECTURES "80-real;90-real;100-real;100-virtual")
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)
  enable_language(CUDA)
  if(CCACHE)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${CMAKE_CXX_COMPILER_LAUNCHER})
  endif()
  # CMake 3.25 does not know that nvcc has C++20.
  set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION -std=c++20)
  set(CMAKE_CUDA_STANDARD 20)
endif()

if(LIQUID_HAS_CUDA)
  foreach(library cudart nccl)
    add_library(liquid_${library} INTERFACE)
    add_library(liquid::${library} ALIAS liquid_${library})
    target_include_directories(liquid_${library} SYSTEM INTERFACE
      ${LIQUID_CUDART_INCLUDE} ${LIQUID_CUBLASLT_INCLUDE} ${LIQUID_NCCL_INCLUDE})
    # DT_RUNPATH comes after LD_LIBRARY_PATH, DT_RPATH would come before it.
    target_link_options(liquid_${library} INTERFACE LINKER:--enable-new-dtags)
  endforeach()
  add_library(liquid_kernels_of_cuda INTERFACE)
  add_library(liquid::cuda_kernels ALIAS liquid_kernels_of_cuda)
  target_link_libraries(liquid_kernels_of_cuda INTERFACE liquid::cudart)
  if(LIQUID_HAS_NVCC)
    target_link_libraries(liquid_cudart INTERFACE CUDA::cudart)
    # CMake takes nvcc's directory of libraries for one that the loader knows.
    target_link_options(liquid_cudart INTERFACE LINKER:-rpath,${CUDAToolkit_LIBRARY_DIR})
    target_link_libraries(liquid_nccl INTERFACE ${LIQUID_NCCL_LIBRARY})
    target_link_libraries(liquid_kernels_of_cuda INTERFACE liquid_cuda_kernels)
  else()
    target_link_libraries(liquid_cudart INTERFACE liquid_emulated_cuda)
    target_link_libraries(liquid_nccl INTERFACE liquid_emulated_cuda)
    target_link_libraries(liquid_kernels_of_cuda INTERFACE liquid_cuda_kernels_emulated)
  endif()
endif()

# liquid_cuda_kernels(SOURCES x.cu ...): libliquid_cuda_kernels.so, once by nvcc in build/<preset>/lib,
# once by the host compiler in build/<preset>/emulated, as far as this build has them.
function(liquid_cuda_kernels)
  cmake_parse_arguments(ARG "" "" "SOURCES" ${ARGN})
  if(NOT ARG_SOURCES)
    return()
  endif()
  list(TRANSFORM ARG_SOURCES PREPEND ${CMAKE_CURRENT_SOURCE_DIR}/)
  if(LIQUID_HAS_NVCC)
    add_library(liquid_cuda_kernels SHARED ${ARG_SOURCES})
    target_include_directories(liquid_cuda_kernels PRIVATE ${PROJECT_SOURCE_DIR})
    target_link_libraries(liquid_cuda_kernels PRIVATE liquid::cudart)
    # The compiler of the host sees code that nvcc wrote: only some of its warnings are about ours.
    target_compile_options(liquid_cuda_kernels PRIVATE
      -Xcompiler=-Wall,-Wextra -Xptxas=--warn-on-spills
      $<$<BOOL:${LIQUID_WERROR}>:-Werror=all-warnings>)
    set_target_properties(liquid_cuda_kernels PROPERTIES
      LIBRARY_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lib)
  endif()
  if(LIQUID_HAS_EMULATION)
    set_property(GLOBAL PROPERTY LIQUID_CUDA_KERNEL_SOURCES ${ARG_SOURCES})
  endif()
endfunction()

# liquid_run_emulated(<test>): that ctest entry finds one emulated device. Its target of the same
# name, if there is one, is built after the emulation.
function(liquid_run_emulated test)
  if(NOT LIQUID_HAS_EMULATION)
    message(FATAL_ERROR "liquid_run_emulated(${test}): this build has no emulation")
  endif()
  set_property(TEST ${test} APPEND PROPERTY ENVIRONMENT_MODIFICATION
    LD_LIBRARY_PATH=path_list_prepend:${LIQUID_EMULATED_DIRECTORY})
  if(TARGET ${test})
    add_dependencies(${test} liquid_emulated_cuda liquid_cuda_kernels_emulated)
  endif()
endfunction()
