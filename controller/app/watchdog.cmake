# loadstar-watchdog(8): what it needs of the settings, and nothing of the daemon.
ls_library(watchdog SOURCES watchdog.cpp watchdog_probe.cpp watchdog_file.cpp watchdog_units.cpp DEPS ls_app ls_util)
add_executable(loadstar-watchdog watchdog_main.cpp)
target_link_libraries(loadstar-watchdog PRIVATE ls_watchdog)
