target_sources(ls_dns PRIVATE response.cpp upstream_stats.cpp upstreams.cpp cache.cpp cache_entry.cpp
  forwarder.cpp forwarder_send.cpp forwarder_receive.cpp upstream_peer.cpp)
target_link_libraries(ls_dns PRIVATE ls_asio)
