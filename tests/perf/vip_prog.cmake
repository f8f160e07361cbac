# Cost of the packet program alone, by prog-test-run.
add_subdirectory(vip_prog)
