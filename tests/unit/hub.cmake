# What masters tell all other nodes.
find_package(rapidcheck REQUIRED)
ls_test(hub_test SOURCES hub_record_test.cpp hub_history_test.cpp hub_server_test.cpp
  DEPS ls_hub ls_sources ls_derive ls_state ls_asio rapidcheck rapidcheck_gtest TIMEOUT 120)
