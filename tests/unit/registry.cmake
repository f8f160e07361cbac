# Registered names (controller/dns): checks, leases, compare and set, what followers are told.
ls_test(registry_test SOURCES registry_test.cpp registration_test.cpp DEPS ls_dns nlohmann_json::nlohmann_json)
