# The overlay's self-tests: what is concluded, and sockets on the loopback of a namespace.
ls_test(overlay_probe_test SOURCES overlay_probe_test.cpp DEPS ls_overlay_selftest)
ls_test(overlay_probe_kernel_test SOURCES overlay_probe_kernel_test.cpp DEPS ls_overlay_selftest ls_asio LABELS kernel TIMEOUT 60)
target_include_directories(overlay_probe_kernel_test PRIVATE ${CMAKE_SOURCE_DIR}/tests)
