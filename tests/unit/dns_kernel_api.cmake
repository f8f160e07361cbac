# What an operator sees of DNS answers in the kernel: samples (controller/api/dns_event.h, controller/app/views.h) and counts
# (controller/datapath/dns_counters.h).
ls_test(dns_event_test SOURCES dns_event_test.cpp DEPS ls_api nlohmann_json::nlohmann_json)
ls_test(dns_counters_test SOURCES dns_counters_test.cpp DEPS ls_datapath_tables PkgConfig::LIBBPF LABELS kernel)
ls_test(views_events_test SOURCES views_events_test.cpp DEPS ls_daemon)
