ls_test(import_test SOURCES import_mesos_dns_test.cpp DEPS ls_import)
