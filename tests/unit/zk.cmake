# The ZooKeeper client (controller/zk) and what finds Mesos masters with it. Tested with a real server.
ls_test(zk_test SOURCES zk_url_test.cpp zk_session_test.cpp zk_members_test.cpp zk_masters_test.cpp
  DEPS ls_zk ls_sources ls_asio ls_zookeeper_fixture TIMEOUT 120)
