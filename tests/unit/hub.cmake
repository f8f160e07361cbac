# What masters tell all other nodes.
find_package(rapidcheck REQUIRED)
ls_test(hub_test SOURCES hub_record_test.cpp hub_history_test.cpp
  DEPS ls_hub ls_derive ls_state rapidcheck rapidcheck_gtest)
