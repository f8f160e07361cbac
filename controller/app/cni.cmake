# loadstar-cni(8): started twice in the life of every container. The dynamic loader would take longer than its work, so it is linked
# statically, which the sanitizers cannot be.
add_library(ls_cni_main OBJECT cni_main.cpp)
target_link_libraries(ls_cni_main PRIVATE ls_cni)
if(LS_SANITIZE)
  add_executable(loadstar-cni $<TARGET_OBJECTS:ls_cni_main>)
  target_link_libraries(loadstar-cni PRIVATE ls_cni)
else()
  # By file, not by target: the targets bring shared libraries with them (spdlog, libnl, fmt) of which nothing is used here.
  add_executable(loadstar-cni $<TARGET_OBJECTS:ls_cni_main> fmt_static.cpp)
  add_dependencies(loadstar-cni ls_cni)
  target_compile_options(loadstar-cni PRIVATE -O2)
  target_link_libraries(loadstar-cni PRIVATE
    $<TARGET_FILE:ls_cni> $<TARGET_FILE:ls_netlink> $<TARGET_FILE:ls_bpf_load> $<TARGET_FILE:ls_bpf> $<TARGET_FILE:ls_util> -l:libbpf.a -l:libelf.a -l:libz.a)
  target_link_options(loadstar-cni PRIVATE -static-pie -Wl,--gc-sections)
endif()
