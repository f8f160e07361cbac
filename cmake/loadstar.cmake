# Shared build rules: warnings, hardening, sanitizers, the three ways to add a target.
find_package(PkgConfig REQUIRED)
find_package(Threads REQUIRED)
find_package(OpenSSL REQUIRED)
find_package(fmt REQUIRED)
find_package(spdlog REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(GTest REQUIRED)
pkg_check_modules(LIBBPF REQUIRED IMPORTED_TARGET libbpf)
pkg_check_modules(LIBNL REQUIRED IMPORTED_TARGET libnl-3.0 libnl-route-3.0)
pkg_check_modules(SYSTEMD REQUIRED IMPORTED_TARGET libsystemd)
pkg_check_modules(SIMDJSON REQUIRED IMPORTED_TARGET simdjson)

add_library(ls_flags INTERFACE)
target_include_directories(ls_flags INTERFACE ${CMAKE_SOURCE_DIR}/controller ${CMAKE_SOURCE_DIR}/include)
target_compile_options(ls_flags INTERFACE -Wall -Wextra -Werror -Wshadow -Wnon-virtual-dtor -fstack-protector-strong)
# g++ 12 reports uninitialised members inside std::variant and coroutine frames that are initialised (GCC PR 105562), and
# overlaps in std::string's own copies (GCC PR 105651).
target_compile_options(ls_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized> $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict>)
target_compile_definitions(ls_flags INTERFACE LS_VERSION="${PROJECT_VERSION}"
  BOOST_ASIO_NO_DEPRECATED BOOST_ASIO_SEPARATE_COMPILATION BOOST_BEAST_SEPARATE_COMPILATION)
target_link_libraries(ls_flags INTERFACE fmt::fmt)
if(LS_SANITIZE)
  target_compile_options(ls_flags INTERFACE -fsanitize=${LS_SANITIZE} -fno-omit-frame-pointer)
  target_link_options(ls_flags INTERFACE -fsanitize=${LS_SANITIZE})
  if(LS_SANITIZE MATCHES "thread")
    # Asio and the flow readers use fences, which this sanitizer does not model; g++ says so as a warning.
    target_compile_options(ls_flags INTERFACE -Wno-tsan)
  endif()
elseif(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  # -ffile-prefix-map: a package does not depend on where it was built.
  target_compile_options(ls_flags INTERFACE -D_FORTIFY_SOURCE=2 -fstack-clash-protection -fcf-protection -ffile-prefix-map=${CMAKE_SOURCE_DIR}/=)
  target_link_options(ls_flags INTERFACE -Wl,-z,relro,-z,now)
endif()

include(${CMAKE_CURRENT_LIST_DIR}/pch.cmake)

# ls_library(NAME SOURCES... DEPS ...): the library ls_NAME of a folder of controller/. ASIO: most of its units use Asio or JSON.
function(ls_library name)
  cmake_parse_arguments(ARG "ASIO" "" "SOURCES;DEPS;PRIVATE_DEPS" ${ARGN})
  add_library(ls_${name} STATIC ${ARG_SOURCES})
  target_link_libraries(ls_${name} PUBLIC ls_flags ${ARG_DEPS} PRIVATE ${ARG_PRIVATE_DEPS})
  if(ARG_ASIO)
    target_precompile_headers(ls_${name} REUSE_FROM ls_pch_asio)
  else()
    target_precompile_headers(ls_${name} REUSE_FROM ls_pch_plain)
  endif()
endfunction()

# ls_test(NAME SOURCES... DEPS...): a GoogleTest program, run by ctest. Label kernel: needs root and BPF; each such test has namespaces
# and cgroup groups of its own. ALONE: it measures time or needs both CPUs, so nothing runs beside it. COST: what costs most starts first.
function(ls_test name)
  cmake_parse_arguments(ARG "ALONE" "TIMEOUT;COST" "SOURCES;DEPS;LABELS;ENV" ${ARGN})
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE ls_flags ${ARG_DEPS} GTest::gtest GTest::gmock GTest::gtest_main)
  target_precompile_headers(${name} REUSE_FROM ls_pch_test)
  target_compile_definitions(${name} PRIVATE LS_SHARED_DIR="${LS_SHARED_DIR}" LS_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "${ARG_LABELS}")
  if(ARG_ALONE)
    set_tests_properties(${name} PROPERTIES RUN_SERIAL TRUE)
  endif()
  if(ARG_COST)
    set_tests_properties(${name} PROPERTIES COST ${ARG_COST})
  endif()
endfunction()

# BPF objects: <name>.bpf.c -> <name>.bpf.o -> <name>.skel.h. clang-14 is pinned because what the verifier accepts depends
# on the compiler.
find_program(LS_CLANG clang-14 REQUIRED)
find_program(LS_LLVM_STRIP llvm-strip-14 REQUIRED)
find_program(LS_BPFTOOL bpftool PATHS /usr/sbin /usr/local/sbin REQUIRED)

# ls_bpf_skeletons(TARGET NAMES...): an interface library that makes <name>.skel.h of this folder's <name>.bpf.c includable.
function(ls_bpf_skeletons target)
  file(GLOB headers CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/bpf/lib/*.h ${CMAKE_SOURCE_DIR}/include/loadstar/abi/*.h)
  set(skeletons)
  foreach(name ${ARGN})
    set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
    set(skeleton ${CMAKE_CURRENT_BINARY_DIR}/${name}.skel.h)
    add_custom_command(
      OUTPUT ${skeleton}
      COMMAND ${LS_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -Wno-unused-function
        -ffile-prefix-map=${CMAKE_SOURCE_DIR}/= -I${CMAKE_SOURCE_DIR}/bpf -I${CMAKE_SOURCE_DIR}/include -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
        -c ${CMAKE_CURRENT_SOURCE_DIR}/${name}.bpf.c -o ${object}
      COMMAND ${LS_LLVM_STRIP} -g ${object}
      COMMAND ${LS_BPFTOOL} gen skeleton ${object} name ${name} > ${skeleton}
      DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/${name}.bpf.c ${headers}
      VERBATIM)
    list(APPEND skeletons ${skeleton})
  endforeach()
  add_custom_target(${target}_made DEPENDS ${skeletons})
  add_library(${target} INTERFACE)
  add_dependencies(${target} ${target}_made)
  target_include_directories(${target} SYSTEM INTERFACE ${CMAKE_CURRENT_BINARY_DIR})
endfunction()
