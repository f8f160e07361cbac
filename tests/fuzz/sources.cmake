add_executable(fuzz_recordio fuzz_recordio.cpp)
target_link_libraries(fuzz_recordio PRIVATE ls_sources)
target_link_options(fuzz_recordio PRIVATE -fsanitize=fuzzer)
