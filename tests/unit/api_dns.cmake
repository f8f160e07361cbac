# DNS in the API (controller/api), the Mesos-DNS HTTP API and `loadstar dns` (controller/cli).
ls_test(api_dns_test SOURCES api_dns_test.cpp DEPS ls_api nlohmann_json::nlohmann_json TIMEOUT 120)
