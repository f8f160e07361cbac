# The API (controller/api) and the command line (controller/cli).
ls_test(api_views_test SOURCES api_views_test.cpp api_decode_test.cpp DEPS ls_api nlohmann_json::nlohmann_json)
ls_test(api_server_test SOURCES api_server_test.cpp DEPS ls_api nlohmann_json::nlohmann_json TIMEOUT 120)
ls_test(cli_test SOURCES cli_test.cpp cli_hub_test.cpp DEPS ls_cli nlohmann_json::nlohmann_json TIMEOUT 120)
target_compile_definitions(cli_test PRIVATE LS_CLI="$<TARGET_FILE:loadstar>")
add_dependencies(cli_test loadstar)
