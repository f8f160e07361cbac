# Where registrations are kept (controller/store).
ls_test(store_test SOURCES store_test.cpp store_fault_test.cpp DEPS ls_store TIMEOUT 180)
