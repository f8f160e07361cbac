ls_test(zone_text_test SOURCES zone_text_test.cpp static_zones_test.cpp DEPS ls_dns ls_dns_config)
