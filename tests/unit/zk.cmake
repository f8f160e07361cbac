# The ZooKeeper client (controller/zk). The session is tested with a real server.
ls_test(zk_test SOURCES zk_url_test.cpp zk_session_test.cpp DEPS ls_zk ls_zookeeper_fixture TIMEOUT 120)
