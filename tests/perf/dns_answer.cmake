add_executable(answer_bench answer_bench.cpp)
target_link_libraries(answer_bench PRIVATE ls_dns)
