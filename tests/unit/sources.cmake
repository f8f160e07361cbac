ls_test(recordio_test SOURCES recordio_test.cpp DEPS ls_sources)
ls_test(master_address_test SOURCES master_address_test.cpp DEPS ls_sources)
ls_test(mesos_source_test SOURCES mesos_source_test.cpp mesos_found_test.cpp DEPS ls_sources ls_standin ls_asio TIMEOUT 120)
ls_test(standin_test SOURCES standin_test.cpp DEPS ls_sources ls_standin ls_asio nlohmann_json::nlohmann_json TIMEOUT 60)
