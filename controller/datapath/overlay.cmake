# The overlay's device and, for comparison and nodes without BPF, its static wiring.
ls_library(datapath_overlay SOURCES overlay_device.cpp overlay_static.cpp DEPS ls_netlink ls_util)
