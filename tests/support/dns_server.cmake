# A DNS server with records of its own, through the real Server class: for compliance and speed.
add_library(ls_zone_text STATIC ${CMAKE_CURRENT_LIST_DIR}/zone_text.cpp)
target_include_directories(ls_zone_text PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(ls_zone_text PUBLIC ls_dns)
add_executable(ls-dns-server ${CMAKE_CURRENT_LIST_DIR}/dns_server.cpp)
target_link_libraries(ls-dns-server PRIVATE ls_zone_text ls_dns ls_asio)
set_target_properties(ls-dns-server PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/tools)
