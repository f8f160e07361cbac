# The records of the Mesos domain and of the zones below thisdcos.directory.
find_package(rapidcheck REQUIRED)
ls_test(mesos_zone_test SOURCES mesos_labels_test.cpp mesos_zone_test.cpp mesos_zone_history_test.cpp
  DEPS ls_derive ls_mesos_json ls_state rapidcheck rapidcheck_gtest)
