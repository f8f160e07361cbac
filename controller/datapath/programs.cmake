# Loading the programs, keeping their maps across restarts, keeping them attached, and taking everything away again.
ls_library(datapath_programs SOURCES map_copy.cpp map_set.cpp programs.cpp cgroup_group.cpp device_hook.cpp attachments.cpp rescue.cpp
  DEPS ls_bpf_load ls_netlink ls_util PRIVATE_DEPS ls_skeletons)
add_dependencies(ls_datapath_programs ls_skeletons_made)
