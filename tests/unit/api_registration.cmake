# Registered names over HTTP, the API on TCP, the reference's read endpoints, and nodes that follow another one.
ls_test(api_registration_test SOURCES api_registration_test.cpp registration_follower_test.cpp
  DEPS ls_api ls_sources ls_dns ls_store nlohmann_json::nlohmann_json TIMEOUT 120)
