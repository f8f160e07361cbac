# Zones, questions and answers; ldns reads what the codec writes and the other way round.
pkg_check_modules(LDNS REQUIRED IMPORTED_TARGET ldns)
ls_test(dns_zone_test SOURCES zone_table_test.cpp zone_table_threads_test.cpp DEPS ls_dns)
ls_test(dns_answer_test SOURCES dns_query_test.cpp dns_answer_test.cpp dns_mesos_answer_test.cpp dns_codec_test.cpp DEPS ls_dns PkgConfig::LDNS)
target_include_directories(dns_answer_test PRIVATE ${CMAKE_SOURCE_DIR}/tests/support)
