target_sources(ls_dns PRIVATE query.cpp routes.cpp)
