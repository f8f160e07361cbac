# The DNS server's limits, and the server itself over sockets of 127.0.0.1 and of namespaces.
ls_test(dns_limits_test SOURCES dns_access_test.cpp dns_cookie_test.cpp dns_framing_test.cpp dns_chain_test.cpp DEPS ls_dns)
ls_test(dns_server_test SOURCES dns_server_udp_test.cpp dns_server_tcp_test.cpp dns_server_forward_test.cpp
  DEPS ls_dns ls_zone_text ls_asio TIMEOUT 120)
ls_test(dns_server_kernel_test SOURCES dns_server_kernel_test.cpp DEPS ls_dns ls_zone_text ls_asio LABELS kernel TIMEOUT 60)
target_include_directories(dns_server_kernel_test PRIVATE ${CMAKE_SOURCE_DIR}/tests/support)
