# Scripted upstreams for the forwarder's tests; no code of the product in them.
add_library(ls_dns_upstream STATIC ${CMAKE_CURRENT_LIST_DIR}/dns_upstream.cpp)
target_include_directories(ls_dns_upstream PUBLIC ${CMAKE_CURRENT_LIST_DIR})
target_link_libraries(ls_dns_upstream PUBLIC ls_flags Threads::Threads)
add_executable(ls-dns-upstream ${CMAKE_CURRENT_LIST_DIR}/dns/upstream_main.cpp)
target_link_libraries(ls-dns-upstream PRIVATE ls_dns_upstream)
