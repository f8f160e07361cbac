ls_library(datapath_tables
  SOURCES maglev.cpp svc_tables.cpp svc_kernel.cpp svc_space.cpp tables_reader.cpp flow_table.cpp counters.cpp dns_counters.cpp
  dns_tables.cpp dns_rooms.cpp overlay_tables.cpp overlay_targets.cpp overlay_counters.cpp
  DEPS ls_bpf ls_util)
