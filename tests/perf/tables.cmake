add_executable(tables_bench tables_bench.cpp)
target_link_libraries(tables_bench PRIVATE ls_flags ls_datapath_tables PkgConfig::LIBBPF)
