# The overlay's self-tests of one node without the daemon.
add_executable(ls-overlay-selftest ${CMAKE_CURRENT_LIST_DIR}/overlay_selftest.cpp)
target_link_libraries(ls-overlay-selftest PRIVATE ls_overlay_selftest ls_app ls_asio nlohmann_json::nlohmann_json)
set_target_properties(ls-overlay-selftest PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/tools)

# A network card that breaks inner checksums, for tc.
set(bad_nic ${CMAKE_BINARY_DIR}/tests/tools/bad_nic.bpf.o)
add_custom_command(OUTPUT ${bad_nic}
  COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/tests/tools
  COMMAND ${LS_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall -Wextra -Werror -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
    -c ${CMAKE_CURRENT_LIST_DIR}/bad_nic.bpf.c -o ${bad_nic}
  DEPENDS ${CMAKE_CURRENT_LIST_DIR}/bad_nic.bpf.c VERBATIM)
add_custom_target(bad_nic DEPENDS ${bad_nic})
add_dependencies(ls-overlay-selftest bad_nic)
