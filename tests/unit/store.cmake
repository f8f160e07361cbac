# Where registrations and allocations are kept (controller/store), and who may write (controller/zk/election).
ls_test(store_test SOURCES store_test.cpp store_fault_test.cpp zk_election_test.cpp zk_store_test.cpp DEPS ls_zk_fake ls_store TIMEOUT 180)
