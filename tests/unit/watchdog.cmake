ls_test(watchdog_test SOURCES watchdog_test.cpp DEPS ls_watchdog nlohmann_json::nlohmann_json)
ls_test(watchdog_system_test SOURCES watchdog_system_test.cpp DEPS ls_watchdog nlohmann_json::nlohmann_json LABELS kernel)
add_dependencies(watchdog_system_test loadstar-watchdog)
target_compile_definitions(watchdog_system_test PRIVATE LS_WATCHDOG="$<TARGET_FILE:loadstar-watchdog>")
