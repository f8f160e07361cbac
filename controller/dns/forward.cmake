target_sources(ls_dns PRIVATE response.cpp upstream_stats.cpp upstreams.cpp cache.cpp cache_entry.cpp)
