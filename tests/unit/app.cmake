ls_test(app_test
  SOURCES config_test.cpp settings_test.cpp upstream_address_test.cpp startup_test.cpp service_manager_test.cpp privileges_test.cpp
  DEPS ls_app)
ls_test(daemon_parts_test SOURCES kernel_options_test.cpp agent_watch_test.cpp client_waker_test.cpp cluster_status_test.cpp machine_check_test.cpp DEPS ls_daemon ls_machine_check)
ls_test(privileges_kernel_test
  SOURCES privileges_kernel_test.cpp
  DEPS ls_app ls_skeletons PkgConfig::LIBBPF
  LABELS kernel)
target_compile_definitions(privileges_kernel_test PRIVATE LS_BPF_DIR="${CMAKE_BINARY_DIR}/bpf")
ls_test(kept_zones_test SOURCES kept_zones_test.cpp state_file_test.cpp dns_wiring_test.cpp DEPS ls_daemon)
