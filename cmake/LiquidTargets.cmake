# Everything every target of ours shares: include root, warnings, threads.
add_library(liquid_options INTERFACE)
target_include_directories(liquid_options INTERFACE ${PROJECT_SOURCE_DIR})
target_compile_options(liquid_options INTERFACE
  -Wall -Wextra -Wconversion -Wno-sign-conversion -Wshadow
  $<$<BOOL:${LIQUID_WERROR}>:-Werror>)
target_link_libraries(liquid_options INTERFACE Threads::Threads)

# liquid_library(<folder> SOURCES ... [DEPS ...] [CUDA_SOURCES ... CUDA_DEPS ...]
# [NO_CUDA_SOURCES ...])  ->  target liquid::<folder>
function(liquid_library name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS;CUDA_SOURCES;CUDA_DEPS;NO_CUDA_SOURCES" ${ARGN})
  if(LIQUID_HAS_CUDA)
    list(APPEND ARG_SOURCES ${ARG_CUDA_SOURCES})
    list(APPEND ARG_DEPS ${ARG_CUDA_DEPS})
  else()
    list(APPEND ARG_SOURCES ${ARG_NO_CUDA_SOURCES})
  endif()
  add_library(liquid_${name} STATIC ${ARG_SOURCES})
  add_library(liquid::${name} ALIAS liquid_${name})
  target_link_libraries(liquid_${name} PUBLIC liquid_options ${ARG_DEPS})
endfunction()

# liquid_program(<name> SOURCES ... DEPS ...): an executable in build/<preset>/bin.
function(liquid_program name)
  cmake_parse_arguments(ARG "" "" "SOURCES;DEPS" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/bin)
  target_link_libraries(${name} PRIVATE liquid_options ${ARG_DEPS})
endfunction()

# liquid_test(<path/without_suffix> [NAME name] [SOURCES more...] DEPS ... LABELS ... [TIMEOUT s]):
# one ctest entry per source file, run in the source root, named after its path.
function(liquid_test path)
  cmake_parse_arguments(ARG "" "NAME;TIMEOUT" "SOURCES;DEPS;LABELS" ${ARGN})
  string(REPLACE "/" "." name ${path})
  if(ARG_NAME)
    set(name ${ARG_NAME})
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 60)
  endif()
  if(LIQUID_SANITIZER)
    math(EXPR ARG_TIMEOUT "10 * ${ARG_TIMEOUT}")
  endif()
  add_executable(${name} ${path}.cc ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE liquid_options GTest::gmock_main ${ARG_DEPS})
  target_compile_options(${name} PRIVATE $<$<CONFIG:Release>:-O1>)  # built often, run briefly
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  set_tests_properties(${name} PROPERTIES LABELS "${ARG_LABELS}" TIMEOUT ${ARG_TIMEOUT})
  if(LIQUID_SANITIZER STREQUAL "thread")
    # ThreadSanitizer does not see how libgomp's threads wait for each other: one thread a team.
    set_tests_properties(${name} PROPERTIES ENVIRONMENT OMP_THREAD_LIMIT=1)
  endif()
endfunction()

# liquid_bench(<path/without_suffix> DEPS ...): a Google Benchmark program, named after its path.
function(liquid_bench path)
  cmake_parse_arguments(ARG "" "" "DEPS" ${ARGN})
  string(REPLACE "/" "." name ${path})
  add_executable(bench.${name} ${path}.cc)
  target_link_libraries(bench.${name} PRIVATE liquid_options benchmark::benchmark_main ${ARG_DEPS})
endfunction()

# liquid_proto(<folder> PROTOS ...)  ->  target liquid::<folder>_messages: messages and gRPC
# stubs, included as "proto/x.pb.h". (FindProtobuf's protobuf_generate puts them beside the folder.)
function(liquid_proto name)
  cmake_parse_arguments(ARG "" "" "PROTOS" ${ARGN})
  foreach(proto ${ARG_PROTOS})
    set(source ${PROJECT_SOURCE_DIR}/${name}/${proto}.proto)
    set(stem ${PROJECT_BINARY_DIR}/${name}/${proto})
    set(outputs ${stem}.pb.cc ${stem}.pb.h ${stem}.grpc.pb.cc ${stem}.grpc.pb.h)
    add_custom_command(OUTPUT ${outputs} DEPENDS ${source} VERBATIM
      COMMAND protobuf::protoc --proto_path=${PROJECT_SOURCE_DIR}
              --cpp_out=${PROJECT_BINARY_DIR} --grpc_out=${PROJECT_BINARY_DIR}
              --plugin=protoc-gen-grpc=$<TARGET_FILE:gRPC::grpc_cpp_plugin> ${source})
    list(APPEND generated ${outputs})
  endforeach()
  add_library(liquid_${name}_messages STATIC ${generated})
  add_library(liquid::${name}_messages ALIAS liquid_${name}_messages)
  target_link_libraries(liquid_${name}_messages
    PUBLIC protobuf::libprotobuf gRPC::grpc++ Threads::Threads)
  target_include_directories(liquid_${name}_messages SYSTEM PUBLIC ${PROJECT_BINARY_DIR})
endfunction()
