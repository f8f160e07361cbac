# The overlay of one node without the daemon: programs, tables and device, told what to do line by line.
add_executable(ls-overlay-node ${CMAKE_CURRENT_LIST_DIR}/overlay_node.cpp)
target_link_libraries(ls-overlay-node PRIVATE ls_datapath_overlay ls_datapath_tables ls_bpf_load ls_skeletons nlohmann_json::nlohmann_json)
add_dependencies(ls-overlay-node ls_skeletons_made)
set_target_properties(ls-overlay-node PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/tools)
