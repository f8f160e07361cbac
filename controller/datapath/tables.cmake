ls_library(datapath_tables
  SOURCES maglev.cpp svc_tables.cpp
  DEPS ls_bpf ls_util)
