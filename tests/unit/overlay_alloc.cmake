# The allocator of the overlay: plan, pools, who has what, its JSON, and the cases of the specification.
ls_test(overlay_plan_test SOURCES overlay_plan_test.cpp overlay_pool_test.cpp overlay_json_test.cpp DEPS ls_overlay nlohmann_json::nlohmann_json)
ls_test(overlay_allocator_test SOURCES overlay_allocator_test.cpp overlay_history_test.cpp overlay_wire_test.cpp overlay_old_state_test.cpp DEPS ls_overlay)
ls_test(overlay_alloc_cases_test SOURCES overlay_alloc_cases_test.cpp DEPS ls_overlay nlohmann_json::nlohmann_json)
ls_test(router_overlay_test SOURCES router_overlay_test.cpp DEPS ls_api nlohmann_json::nlohmann_json)
ls_test(config_overlay_test SOURCES config_overlay_test.cpp DEPS ls_app)
ls_test(import_overlay_test SOURCES import_overlay_test.cpp DEPS ls_import nlohmann_json::nlohmann_json)
ls_test(overlay_service_test SOURCES overlay_service_test.cpp overlay_files_test.cpp DEPS ls_daemon ls_overlay nlohmann_json::nlohmann_json)
