# A state document to records: CPU and memory by phase, and one task's change. Run by hand; a small run shows that it works.
add_executable(zone_bench zone_bench.cpp zone_cluster.cpp)
target_link_libraries(zone_bench PRIVATE ls_flags ls_mesos_json ls_state ls_derive ls_dns fmt::fmt)
set_target_properties(zone_bench PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/tools)
add_test(NAME perf_zone_quick COMMAND zone_bench --quick)
set_tests_properties(perf_zone_quick PROPERTIES LABELS long TIMEOUT 60)
