# What settings say about DNS and only the daemon needs: the watchdog reads the same settings and links less.
ls_library(dns_config SOURCES static_zones.cpp DEPS ls_app ls_dns)
ls_library(import SOURCES imported.cpp import_mesos_dns.cpp import_mesos_dns_keys.cpp import_overlay.cpp DEPS ls_app ls_overlay PRIVATE_DEPS nlohmann_json::nlohmann_json)

# What masters keep and give out, and whose turn it is (docs/design/12-cluster.md).
ls_library(turns ASIO SOURCES zookeeper_url.cpp store_migrate.cpp master_terms.cpp master_turns.cpp registrations.cpp overlay_turns_link.cpp overlay_service.cpp overlay_local_link.cpp overlay_book.cpp
  DEPS ls_app ls_api ls_zk ls_sources ls_dns ls_overlay ls_store ls_asio
  PRIVATE_DEPS nlohmann_json::nlohmann_json)

# loadstard(8): the wiring.
ls_library(daemon ASIO SOURCES agent_ask.cpp agent_watch.cpp client_waker.cpp hub_feed.cpp cluster.cpp cluster_status.cpp state_file.cpp cni_keeper.cpp views.cpp host_names.cpp last_good.cpp zone_keeper.cpp mesos_dns_data.cpp overlay_memory.cpp overlay_files.cpp overlay_node.cpp overlay_node_steps.cpp overlay_node_view.cpp dns_options.cpp dns_origins.cpp dns_kernel.cpp dns_node.cpp kernel_options.cpp daemon.cpp
  DEPS ls_turns ls_app ls_dns_config ls_api ls_hub ls_zk ls_sources ls_mesos_json ls_state ls_derive ls_dns ls_overlay ls_overlay_docker ls_overlay_masquerade ls_overlay_selftest ls_store ls_netlink ls_datapath_programs ls_datapath_tables ls_datapath_overlay ls_cni ls_asio
  PRIVATE_DEPS PkgConfig::LIBBPF nlohmann_json::nlohmann_json)
pkg_check_modules(CLI11 IMPORTED_TARGET CLI11)
add_executable(loadstard main.cpp)
target_link_libraries(loadstard PRIVATE ls_daemon ls_import)
