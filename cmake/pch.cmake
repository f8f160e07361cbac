# Precompiled headers: what most units include anyway costs each of them 1 s (2 s with Asio and JSON) of parsing, a fifth of the whole build. A unit
# still includes what it uses. Off until every unit was built with them (-DLS_PCH=ON); ccache wants its sloppiness set for them.
option(LS_PCH "Precompiled headers" OFF)
if(NOT LS_PCH)
  set(CMAKE_DISABLE_PRECOMPILE_HEADERS ON)
endif()
set(ls_pch_plain_headers <algorithm> <array> <atomic> <charconv> <chrono> <deque> <functional> <map> <memory> <optional> <set> <span> <string>
  <string_view> <system_error> <thread> <tuple> <unordered_map> <unordered_set> <utility> <variant> <vector> <tl/expected.hpp> <fmt/format.h>)
set(ls_pch_asio_headers ${ls_pch_plain_headers} <nlohmann/json.hpp> <boost/asio/io_context.hpp> <boost/asio/ip/tcp.hpp> <boost/asio/post.hpp> <boost/asio/steady_timer.hpp>)
set(ls_pch_test_headers ${ls_pch_plain_headers} <fstream> <gtest/gtest.h>)

# A library's units are compiled otherwise than a program's (PIC, PIE), so each kind has its own.
foreach(kind plain asio)
  add_library(ls_pch_${kind} STATIC ${CMAKE_SOURCE_DIR}/cmake/pch/empty.cpp)
endforeach()
add_executable(ls_pch_test ${CMAKE_SOURCE_DIR}/cmake/pch/empty.cpp)
target_link_libraries(ls_pch_test PRIVATE GTest::gtest)
foreach(kind plain asio test)
  target_link_libraries(ls_pch_${kind} PRIVATE ls_flags)
  target_precompile_headers(ls_pch_${kind} PRIVATE ${ls_pch_${kind}_headers})
endforeach()
