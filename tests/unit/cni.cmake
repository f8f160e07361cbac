# loadstar-cni (controller/cni): protocol, configurations, and the leases with a disk that loses writes.
find_package(rapidcheck REQUIRED)
ls_test(cni_protocol_test SOURCES cni_request_test.cpp cni_result_test.cpp cni_config_test.cpp DEPS ls_cni nlohmann_json::nlohmann_json)
ls_test(cni_leases_test SOURCES cni_lease_file_test.cpp cni_leases_test.cpp DEPS ls_cni rapidcheck rapidcheck_gtest TIMEOUT 180)
ls_test(cni_kernel_test SOURCES cni_kernel_test.cpp DEPS ls_cni PkgConfig::LIBBPF LABELS kernel TIMEOUT 120)
target_include_directories(cni_kernel_test PRIVATE ${CMAKE_SOURCE_DIR}/tests)
