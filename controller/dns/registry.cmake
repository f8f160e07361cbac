pkg_check_modules(LDNS REQUIRED IMPORTED_TARGET ldns)
target_sources(ls_dns PRIVATE ${CMAKE_CURRENT_LIST_DIR}/registration.cpp ${CMAKE_CURRENT_LIST_DIR}/registration_json.cpp
  ${CMAKE_CURRENT_LIST_DIR}/registry.cpp)
target_link_libraries(ls_dns PUBLIC ls_store nlohmann_json::nlohmann_json PRIVATE PkgConfig::LDNS)
