# Tests of controller/bpf, controller/netlink and the attaching half of controller/datapath.
set(refused ${CMAKE_CURRENT_BINARY_DIR}/refused.bpf.o)
find_program(LS_CLANG clang-14 REQUIRED)
add_custom_command(OUTPUT ${refused}
  COMMAND ${LS_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
    -c ${CMAKE_CURRENT_LIST_DIR}/refused.bpf.c -o ${refused}
  DEPENDS ${CMAKE_CURRENT_LIST_DIR}/refused.bpf.c VERBATIM)
add_custom_target(refused_bpf DEPENDS ${refused})

ls_test(bpf_load_test SOURCES bpf_load_test.cpp DEPS ls_bpf_load LABELS kernel)
add_dependencies(bpf_load_test refused_bpf)
target_compile_definitions(bpf_load_test PRIVATE LS_REFUSED_OBJECT="${refused}")

ls_test(netlink_test SOURCES netlink_test.cpp DEPS ls_netlink LABELS kernel)

# DNS programs that load at once, see dns_tc_small.bpf.c.
set(small_dns)
foreach(name dns_xdp_small dns_tc_small)
  set(object ${CMAKE_CURRENT_BINARY_DIR}/${name}.bpf.o)
  add_custom_command(OUTPUT ${object}
    COMMAND ${LS_CLANG} -target bpf -mcpu=v3 -O2 -g -Wall -Wno-unused-function -I${CMAKE_SOURCE_DIR}/bpf
      -I${CMAKE_SOURCE_DIR}/include -idirafter /usr/include/${CMAKE_LIBRARY_ARCHITECTURE}
      -c ${CMAKE_CURRENT_LIST_DIR}/${name}.bpf.c -o ${object}
    DEPENDS ${CMAKE_CURRENT_LIST_DIR}/${name}.bpf.c ${CMAKE_SOURCE_DIR}/bpf/lib/maps.h ${CMAKE_SOURCE_DIR}/bpf/lib/dns_maps.h
      ${CMAKE_SOURCE_DIR}/include/loadstar/abi/dns.h VERBATIM)
  list(APPEND small_dns ${object})
endforeach()
add_custom_target(small_dns_bpf DEPENDS ${small_dns})

pkg_check_modules(CAPNG REQUIRED IMPORTED_TARGET libcap-ng)
ls_test(programs_test SOURCES programs_test.cpp attachments_test.cpp dns_attachments_test.cpp overlay_attachments_test.cpp portmap_maps_test.cpp
  DEPS ls_datapath_programs PkgConfig::CAPNG LABELS kernel COST 90 TIMEOUT 600)
# Some three hundred starts, each of which runs the verifier over every program (0.3 s of CPU).
ls_test(restart_test SOURCES restart_test.cpp DEPS ls_datapath_programs LABELS kernel TIMEOUT 900 COST 90)
foreach(t programs_test restart_test)
  add_dependencies(${t} small_dns_bpf)
  target_compile_definitions(${t} PRIVATE LS_SMALL_DNS="${CMAKE_CURRENT_BINARY_DIR}")
endforeach()
foreach(t bpf_load_test netlink_test programs_test restart_test)
  target_include_directories(${t} PRIVATE ${CMAKE_SOURCE_DIR}/tests)
endforeach()
