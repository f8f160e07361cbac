ls_library(datapath_tables
  SOURCES maglev.cpp svc_tables.cpp tables_reader.cpp flow_table.cpp counters.cpp
  DEPS ls_bpf ls_util)
