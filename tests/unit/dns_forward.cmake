ls_test(forwarder_test SOURCES forwarder_test.cpp DEPS ls_dns ls_dns_upstream ls_asio TIMEOUT 180)
