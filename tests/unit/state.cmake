# State, its decoder, and everything derived from it for VIPs.
find_package(rapidcheck REQUIRED)
ls_test(state_test SOURCES cluster_state_test.cpp mesos_json_test.cpp DEPS ls_mesos_json ls_state)
ls_test(derive_test SOURCES names_test.cpp vip_addresses_test.cpp ports_test.cpp vips_test.cpp vips_history_test.cpp
  DEPS ls_derive ls_state rapidcheck rapidcheck_gtest)
