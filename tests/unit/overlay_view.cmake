# What the API and the command line show of the overlay on a node.
ls_test(api_overlay_node_test SOURCES api_overlay_node_test.cpp DEPS ls_api nlohmann_json::nlohmann_json TIMEOUT 120)
ls_test(cli_overlay_test SOURCES cli_overlay_test.cpp DEPS ls_api ls_cli nlohmann_json::nlohmann_json TIMEOUT 120)
target_compile_definitions(cli_overlay_test PRIVATE LS_CLI="$<TARGET_FILE:loadstar>")
add_dependencies(cli_overlay_test loadstar)
