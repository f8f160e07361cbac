# Skips itself unless LS_LONG is set: half a minute and 500 MB.
ls_test(snapshot_memory_test SOURCES snapshot_memory_test.cpp DEPS ls_sources ls_asio LABELS long)
target_compile_definitions(snapshot_memory_test PRIVATE LS_STANDIN="$<TARGET_FILE:ls-mesos-standin>")
add_dependencies(snapshot_memory_test ls-mesos-standin)
