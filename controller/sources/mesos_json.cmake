# The only user of simdjson: operator API records to the events of state/.
ls_library(mesos_json SOURCES mesos_json.cpp mesos_parts.cpp mesos_state.cpp DEPS ls_state PRIVATE_DEPS PkgConfig::SIMDJSON)
