# What loadstard --check --machine looks at; nothing of the daemon itself.
ls_library(machine_check SOURCES machine_check.cpp DEPS ls_app ls_api ls_datapath_programs ls_bpf)
target_link_libraries(loadstard PRIVATE ls_machine_check)
