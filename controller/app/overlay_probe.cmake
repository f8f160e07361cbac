# The overlay's self-tests on a node: checksum offload, and `overlay check`.
ls_library(overlay_selftest
  SOURCES overlay_probe.cpp overlay_probe_echo.cpp overlay_probe_offload.cpp overlay_probe_ping.cpp overlay_probe_talk.cpp overlay_check.cpp
    overlay_check_cause.cpp
  DEPS ls_overlay_plan ls_util
  PRIVATE_DEPS ls_asio)
# clang 14 cannot emit coroutines with the function sanitizer ("Cannot represent a difference across sections").
set_source_files_properties(overlay_probe.cpp overlay_probe_echo.cpp overlay_probe_ping.cpp overlay_probe_talk.cpp overlay_check.cpp PROPERTIES
  COMPILE_OPTIONS "$<$<CXX_COMPILER_ID:Clang>:-fno-sanitize=function>;$<$<CXX_COMPILER_ID:GNU>:-Wno-mismatched-new-delete>")
# g++ 12 takes the delete of a small coroutine frame, once inlined, for that of another allocation.
