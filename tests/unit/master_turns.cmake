# Masters that take turns at a store in ZooKeeper (controller/app/master_turns): with a real server.
ls_test(master_turns_test SOURCES master_turns_test.cpp store_migrate_test.cpp DEPS ls_turns ls_zookeeper_fixture nlohmann_json::nlohmann_json TIMEOUT 180)
set_source_files_properties(master_turns_test.cpp PROPERTIES COMPILE_OPTIONS "$<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>")
