target_sources(ls_dns PRIVATE answer.cpp message_writer.cpp name_builder.cpp query.cpp routes.cpp standard_routes.cpp transfer.cpp zone_table.cpp)
