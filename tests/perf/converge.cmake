# A hub and thousands of its streams in one process: what a change costs, and when agents have it. Run by hand; a small run shows that it
# works and that every stream ends with every change.
add_executable(converge converge/converge.cpp converge/scene.cpp converge/bare.cpp converge/feed.cpp converge/fleet.cpp converge/measure.cpp
  converge/tls_files.cpp converge/whole.cpp)
target_link_libraries(converge PRIVATE ls_flags ls_hub ls_sources ls_state ls_asio fmt::fmt)
target_compile_definitions(converge PRIVATE LS_BUILD_TYPE="${CMAKE_BUILD_TYPE}")
set_target_properties(converge PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/tools)
add_test(NAME perf_converge_quick COMMAND converge --quick)
set_tests_properties(perf_converge_quick PROPERTIES LABELS long TIMEOUT 120)
