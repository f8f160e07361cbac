ls_test(app_test
  SOURCES config_test.cpp settings_test.cpp startup_test.cpp service_manager_test.cpp privileges_test.cpp
  DEPS ls_app)
