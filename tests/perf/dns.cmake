# CPU per DNS answer beside other servers, in namespaces. Run by hand: dns/authority.py.
add_subdirectory(dns)
