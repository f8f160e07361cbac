# DNS in the API (controller/api), the Mesos-DNS HTTP API and `loadstar dns` (controller/cli).
ls_test(api_dns_test SOURCES api_dns_test.cpp DEPS ls_api nlohmann_json::nlohmann_json TIMEOUT 120)
ls_test(mesos_dns_http_test SOURCES mesos_dns_routes_test.cpp mesos_dns_http_test.cpp DEPS ls_api nlohmann_json::nlohmann_json TIMEOUT 120)
ls_test(cli_dns_test SOURCES cli_dns_test.cpp cli_status_test.cpp DEPS ls_api ls_cli nlohmann_json::nlohmann_json TIMEOUT 120)
target_compile_definitions(cli_dns_test PRIVATE LS_CLI="$<TARGET_FILE:loadstar>")
add_dependencies(cli_dns_test loadstar)
ls_test(mesos_dns_cases_test SOURCES mesos_dns_cases_test.cpp DEPS ls_api ls_derive ls_mesos_json ls_state nlohmann_json::nlohmann_json)
