# CPU per connection, request and packet through every way to a service, in namespaces. Run by hand: vip/vip.py.
add_subdirectory(vip)
