# The lab's packet tools: no dependency but libc, so that they start fast and by the hundred.
add_executable(ls-echo ${CMAKE_CURRENT_LIST_DIR}/lab/echo.cpp)
add_executable(ls-dial ${CMAKE_CURRENT_LIST_DIR}/lab/dial.cpp ${CMAKE_CURRENT_LIST_DIR}/lab/dial_once.cpp
  ${CMAKE_CURRENT_LIST_DIR}/lab/dial_stream.cpp ${CMAKE_CURRENT_LIST_DIR}/lab/dial_probe.cpp)
add_executable(ls-dns-spoof ${CMAKE_CURRENT_LIST_DIR}/lab/dns_spoof.cpp)
foreach(tool ls-echo ls-dial ls-dns-spoof)
  target_compile_options(${tool} PRIVATE -Wall -Wextra -Wshadow -Werror)
  set_target_properties(${tool} PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests/tools)
endforeach()
