# Where the kernel's DNS answers are kept (controller/datapath/dns_tables.h).
ls_test(dns_rooms_test SOURCES dns_rooms_test.cpp DEPS ls_datapath_tables)
ls_test(dns_tables_test SOURCES dns_tables_test.cpp dns_tables_crash_test.cpp dns_tables_history_test.cpp dns_tables_reader_test.cpp
  DEPS ls_datapath_tables PkgConfig::LIBBPF LABELS kernel)
