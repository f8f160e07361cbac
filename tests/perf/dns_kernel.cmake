# Answers in the kernel: ns a question, rate beside other servers, memory. Run by hand: dns_kernel/run.py.
add_subdirectory(dns_kernel)
