# Loading the programs, keeping their maps across restarts, keeping them attached, and taking everything away again.
ls_library(datapath_programs SOURCES flow_migrate.cpp flow_reset.cpp map_copy.cpp map_set.cpp own_addresses.cpp programs.cpp cgroup_group.cpp device_hook.cpp attachments.cpp attachments_dns.cpp attachments_overlay.cpp attachments_status.cpp xdp_choice.cpp rescue.cpp
  DEPS ls_datapath_tables ls_bpf_load ls_netlink ls_util PRIVATE_DEPS ls_skeletons)
add_dependencies(ls_datapath_programs ls_skeletons_made)
