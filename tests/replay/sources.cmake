ls_test(replay_source_test SOURCES replay_source_test.cpp DEPS ls_sources ls_asio nlohmann_json::nlohmann_json)
