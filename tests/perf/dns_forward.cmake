# Forwarding beside other forwarders, on loopback addresses. Run by hand: dns/forward.py.
add_executable(ls-dns-forward-load ${CMAKE_CURRENT_LIST_DIR}/dns/forward_load.cpp)
target_link_libraries(ls-dns-forward-load PRIVATE ls_flags Threads::Threads)
