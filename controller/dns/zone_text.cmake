# Zone text is read and written with ldns.
pkg_check_modules(LDNS REQUIRED IMPORTED_TARGET ldns)
target_sources(ls_dns PRIVATE zone_text.cpp)
target_link_libraries(ls_dns PUBLIC PkgConfig::LDNS)
