# A real ZooKeeper server for unit tests.
add_library(ls_zookeeper_fixture STATIC zookeeper_fixture.cpp)
target_include_directories(ls_zookeeper_fixture PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(ls_zookeeper_fixture PUBLIC ls_flags ls_util)
