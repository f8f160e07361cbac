# The Docker half of the overlay, and what leaves the overlay.
ls_test(overlay_command_test SOURCES overlay_command_test.cpp DEPS ls_overlay_docker)
ls_test(overlay_docker_test SOURCES overlay_docker_test.cpp overlay_docker_filter_test.cpp DEPS ls_overlay_docker ls_overlay_plan)
ls_test(overlay_docker_keeper_test SOURCES overlay_docker_keeper_test.cpp DEPS ls_overlay_docker)
ls_test(overlay_masquerade_test SOURCES overlay_masquerade_test.cpp overlay_docker_rules_test.cpp
  DEPS ls_overlay_masquerade ls_overlay_docker LABELS kernel)
target_include_directories(overlay_masquerade_test PRIVATE ${CMAKE_SOURCE_DIR}/tests)
