add_library(ls_standin STATIC mesos_standin.cpp standin/model.cpp standin/engine.cpp standin/server.cpp)
target_include_directories(ls_standin PUBLIC ${CMAKE_CURRENT_SOURCE_DIR})
target_link_libraries(ls_standin PUBLIC ls_flags ls_util PRIVATE ls_asio ls_sources nlohmann_json::nlohmann_json)

add_executable(ls-mesos-standin standin/main.cpp)
target_link_libraries(ls-mesos-standin PRIVATE ls_standin ls_asio)
# See controller/sources/CMakeLists.txt.
set_source_files_properties(mesos_standin.cpp standin/engine.cpp standin/server.cpp standin/main.cpp PROPERTIES
  COMPILE_OPTIONS "$<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>")
