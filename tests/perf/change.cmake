# What one task's change costs, at 100 and at 100,000 tasks. Run by hand; a small run shows that it works.
add_executable(change_bench change/change.cpp change/cluster_text.cpp)
target_link_libraries(change_bench PRIVATE ls_flags ls_mesos_json ls_state ls_derive ls_datapath_tables PkgConfig::LIBBPF)
set_target_properties(change_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/tools)
add_test(NAME perf_change_quick COMMAND change_bench --quick)
set_tests_properties(perf_change_quick PROPERTIES LABELS "kernel;long" RUN_SERIAL TRUE TIMEOUT 120 SKIP_RETURN_CODE 77)
