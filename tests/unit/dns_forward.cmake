ls_test(forwarder_test SOURCES forwarder_test.cpp DEPS ls_dns ls_dns_upstream ls_asio TIMEOUT 180)
ls_test(upstreams_test SOURCES upstreams_test.cpp DEPS ls_dns)
ls_test(dns_cache_test SOURCES dns_cache_test.cpp dns_response_test.cpp DEPS ls_dns)
