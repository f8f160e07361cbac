# An ensemble in memory, in place of the real session (tests/support/zk/fake_ensemble.h). An object library, so that it comes before controller/zk.
add_library(ls_zk_fake OBJECT zk/fake_session.cpp)
target_include_directories(ls_zk_fake PUBLIC ${CMAKE_CURRENT_SOURCE_DIR}/zk)
target_link_libraries(ls_zk_fake PUBLIC ls_flags ls_zk_url)
