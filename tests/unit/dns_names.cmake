ls_test(dns_names_test SOURCES dns_name_test.cpp epoch_test.cpp records_test.cpp DEPS ls_derive ls_util)
