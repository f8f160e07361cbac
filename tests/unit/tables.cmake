ls_test(maglev_test SOURCES maglev_test.cpp DEPS ls_datapath_tables)
ls_test(svc_alloc_test SOURCES svc_alloc_test.cpp DEPS ls_datapath_tables)
ls_test(map_test SOURCES map_test.cpp DEPS ls_bpf PkgConfig::LIBBPF LABELS kernel)
ls_test(svc_tables_test SOURCES svc_tables_test.cpp svc_tables_crash_test.cpp DEPS ls_datapath_tables PkgConfig::LIBBPF LABELS kernel)
