add_library(choir_flags INTERFACE)
# -Wnull-dereference is left out: GCC 12 reports it inside absl::StatusOr at -O2.
target_compile_options(choir_flags INTERFACE -Wall -Wextra -Wshadow -Wconversion
  -Wnon-virtual-dtor -Wold-style-cast -Wcast-qual -Wundef -Wvla
  $<$<BOOL:${CHOIR_WERROR}>:-Werror>
  $<$<CXX_COMPILER_ID:GNU>:-Wduplicated-cond -Wlogical-op>
  $<$<CXX_COMPILER_ID:Clang>:-Wthread-safety -Wno-sign-conversion>)
if(CHOIR_SANITIZE)
  add_compile_options(-fsanitize=${CHOIR_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
  add_link_options(-fsanitize=${CHOIR_SANITIZE})
endif()
if(CHOIR_FAILPOINTS)
  add_compile_definitions(CHOIR_FAILPOINTS=1)
endif()
add_custom_target(fuzzers)
if(CHOIR_FUZZ)
  add_compile_options(-fsanitize=fuzzer-no-link)
endif()

# choir_module(<name> SRCS ... HDRS ... DEPS ... [PRIVATE_DEPS ...])
# One static library choir::<name>, with the direct dependencies that its sources include, and no others.
function(choir_module name)
  cmake_parse_arguments(M "" "" "SRCS;HDRS;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(choir_${name} STATIC ${M_SRCS})
  add_library(choir::${name} ALIAS choir_${name})
  target_sources(choir_${name} PUBLIC FILE_SET HEADERS BASE_DIRS ${PROJECT_SOURCE_DIR} FILES ${M_HDRS})
  target_link_libraries(choir_${name} PUBLIC ${M_DEPS} PRIVATE choir_flags ${M_PRIVATE_DEPS})
  set_target_properties(choir_${name} PROPERTIES VERIFY_INTERFACE_HEADER_SETS ON)
endfunction()

# choir_test(<name> SRCS ... DEPS ... [TIMEOUT seconds]): one GoogleTest program, one ctest entry.
# Tests find the shared test data through CHOIR_TEST_DATA (default: ../shared/data beside the checkout).
function(choir_test name)
  cmake_parse_arguments(T "" "TIMEOUT" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${T_SRCS})
  target_link_libraries(${name} PRIVATE choir_flags ${T_DEPS} choir::test_support GTest::gmock GTest::gtest_main)
  if(CHOIR_SANITIZE STREQUAL "thread")
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/support/tsan_mutex.cc)
  endif()
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/tests)
  add_test(NAME ${name} COMMAND ${name} WORKING_DIRECTORY ${PROJECT_SOURCE_DIR})
  if(NOT T_TIMEOUT)
    set(T_TIMEOUT 120)
  endif()
  if(CHOIR_SANITIZE)
    math(EXPR T_TIMEOUT "4 * ${T_TIMEOUT}")
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${T_TIMEOUT})
  # The asan preset unwinds slowly, as tests/lsan.supp names libraries without frame pointers. Nothing in
  # the engine calls these, and its Vulkan driver, a compiler, allocates a great deal: there it took minutes.
  cmake_path(RELATIVE_PATH CMAKE_CURRENT_SOURCE_DIR BASE_DIRECTORY ${PROJECT_SOURCE_DIR} OUTPUT_VARIABLE room)
  if(CHOIR_SANITIZE MATCHES "address" AND room MATCHES "^(engine/|tests/toy$)")
    set_tests_properties(${name} PROPERTIES ENVIRONMENT_MODIFICATION
      "ASAN_OPTIONS=string_append::fast_unwind_on_malloc=1")
  endif()
endfunction()

# choir_fuzz(<name> SRCS ... DEPS ...): one libFuzzer target, built only with CHOIR_FUZZ=ON (clang).
# tests/fuzz/run.sh runs each of them for a short while over tests/fuzz/corpus/<name>.
function(choir_fuzz name)
  if(NOT CHOIR_FUZZ)
    return()
  endif()
  cmake_parse_arguments(F "" "" "SRCS;DEPS" ${ARGN})
  add_executable(${name} ${F_SRCS})
  target_link_libraries(${name} PRIVATE choir_flags ${F_DEPS})
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)
  add_dependencies(fuzzers ${name})
  set_target_properties(${name} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/fuzz)
endfunction()
