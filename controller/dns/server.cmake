# The workers: sockets, limits, and what is done with one question.
target_sources(ls_dns PRIVATE access.cpp rate_limit.cpp cookie.cpp counters.cpp sockets.cpp responder.cpp responder_forward.cpp
  chain.cpp explain.cpp udp_listener.cpp tcp_framing.cpp tcp_limits.cpp tcp_listener.cpp tcp_session.cpp worker.cpp binder.cpp
  server.cpp)
target_link_libraries(ls_dns PRIVATE ls_asio)
