# What the kernel's DNS answers are made from: forms of entries, and the mirror that keeps them equal to the zones.
ls_test(dns_kernel_form_test SOURCES dns_kernel_form_test.cpp DEPS ls_dns)
target_include_directories(dns_kernel_form_test PRIVATE ${CMAKE_SOURCE_DIR}/tests/support)
ls_test(dns_follow_test SOURCES dns_follow_test.cpp DEPS ls_dns)
ls_test(dns_kernel_mirror_test SOURCES dns_kernel_mirror_test.cpp DEPS ls_dns)
target_include_directories(dns_kernel_mirror_test PRIVATE ${CMAKE_SOURCE_DIR}/tests/support)
