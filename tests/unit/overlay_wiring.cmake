# The overlay on a node: its tables, its device, and how the original wired it.
ls_test(overlay_tables_test SOURCES overlay_tables_test.cpp overlay_tables_history_test.cpp
  DEPS ls_datapath_tables PkgConfig::LIBBPF LABELS kernel)
ls_test(overlay_device_test SOURCES overlay_device_test.cpp DEPS ls_datapath_overlay LABELS kernel)
target_include_directories(overlay_device_test PRIVATE ${CMAKE_SOURCE_DIR}/tests)
ls_test(overlay_cases_test SOURCES overlay_cases_test.cpp
  DEPS ls_datapath_overlay ls_datapath_tables PkgConfig::LIBBPF nlohmann_json::nlohmann_json LABELS kernel)
