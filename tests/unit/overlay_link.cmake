# What a node of the overlay says to the allocator and hears of it.
ls_test(overlay_link_test SOURCES overlay_link_test.cpp overlay_link_faults_test.cpp overlay_take_test.cpp overlay_local_link_test.cpp overlay_memory_test.cpp
  DEPS ls_daemon ls_sources ls_overlay ls_asio nlohmann_json::nlohmann_json TIMEOUT 120)
set_source_files_properties(overlay_link_test.cpp overlay_link_faults_test.cpp overlay_local_link_test.cpp PROPERTIES
  COMPILE_OPTIONS "$<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>")
