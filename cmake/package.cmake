# The Debian packages loadstar and loadstar-cni: what is installed where, and what CPack says about it. `scripts/package` makes them
# from a release build; tests/package looks at those of the tree at hand. `cmake --install` with DESTDIR gives the same files.
# Sanitized builds are for tests only and have no packages.

# Programs that leave the house: addresses are random and tables of functions read-only once they are linked, in every build.
foreach(program loadstard loadstar loadstar-watchdog loadstar-cni)
  target_link_options(${program} PRIVATE -Wl,-z,relro,-z,now,-z,noexecstack)
endforeach()

if(LS_SANITIZE)
  return()
endif()

if(CMAKE_INSTALL_PREFIX_INITIALIZED_TO_DEFAULT)
  set(CMAKE_INSTALL_PREFIX / CACHE PATH "Root that paths such as usr/sbin are below" FORCE)
endif()
# CPack installs what is there. `package_files` builds it; the rest of the tree is not needed.
set(CMAKE_SKIP_INSTALL_ALL_DEPENDENCY ON)

find_program(LS_GZIP gzip REQUIRED)
find_program(LS_SCDOC scdoc REQUIRED)
set(package_dir ${CMAKE_BINARY_DIR}/package)
set(docs_built ${CMAKE_BINARY_DIR}/docs)
set(deb_dir ${CMAKE_SOURCE_DIR}/dist/deb)
file(MAKE_DIRECTORY ${package_dir}/man ${package_dir}/completion)
set(package_made)

# gzip -n: no time and no name in the file, so that two builds give the same bytes.
function(ls_gzip from to)
  add_custom_command(OUTPUT ${to} COMMAND ${LS_GZIP} -9nc ${from} > ${to} DEPENDS ${from} VERBATIM)
  set(package_made ${package_made} ${to} PARENT_SCOPE)
endfunction()

add_custom_command(OUTPUT ${package_dir}/loadstar.1
  COMMAND ${LS_SCDOC} < ${CMAKE_SOURCE_DIR}/docs/man/loadstar.1.scd > ${package_dir}/loadstar.1
  DEPENDS ${CMAKE_SOURCE_DIR}/docs/man/loadstar.1.scd VERBATIM)
ls_gzip(${package_dir}/loadstar.1 ${package_dir}/man/loadstar.1.gz)
ls_gzip(${docs_built}/loadstar.toml.5 ${package_dir}/man/loadstar.toml.5.gz)
foreach(page loadstard loadstar-watchdog loadstar-cni)
  ls_gzip(${CMAKE_SOURCE_DIR}/docs/man/${page}.8 ${package_dir}/man/${page}.8.gz)
endforeach()
ls_gzip(${deb_dir}/changelog ${package_dir}/changelog.Debian.gz)
foreach(shell bash zsh fish)
  add_custom_command(OUTPUT ${package_dir}/completion/${shell} COMMAND loadstar completion ${shell} > ${package_dir}/completion/${shell}
    DEPENDS loadstar VERBATIM)
  list(APPEND package_made ${package_dir}/completion/${shell})
endforeach()
add_custom_target(package_files ALL DEPENDS ${package_made} settings_docs loadstard loadstar loadstar-watchdog loadstar-cni)

# ls_package_files(COMPONENT FOLDER FILES... [NAME new name])
function(ls_package_files component folder)
  cmake_parse_arguments(ARG "" "NAME" "" ${ARGN})
  if(ARG_NAME)
    install(FILES ${ARG_UNPARSED_ARGUMENTS} DESTINATION ${folder} COMPONENT ${component} RENAME ${ARG_NAME})
  else()
    install(FILES ${ARG_UNPARSED_ARGUMENTS} DESTINATION ${folder} COMPONENT ${component})
  endif()
endfunction()

set(dist ${CMAKE_SOURCE_DIR}/dist)
install(TARGETS loadstard loadstar-watchdog RUNTIME DESTINATION usr/sbin COMPONENT loadstar)
install(TARGETS loadstar RUNTIME DESTINATION usr/bin COMPONENT loadstar)
ls_package_files(loadstar etc/loadstar ${docs_built}/loadstar.toml)
ls_package_files(loadstar usr/share/doc/loadstar/examples ${docs_built}/loadstar.toml)
ls_package_files(loadstar lib/systemd/system ${dist}/loadstard.service ${dist}/loadstar-watchdog.service)
ls_package_files(loadstar usr/lib/sysusers.d ${dist}/loadstar.sysusers.conf NAME loadstar.conf)
ls_package_files(loadstar usr/lib/tmpfiles.d ${dist}/loadstar.tmpfiles.conf NAME loadstar.conf)
ls_package_files(loadstar usr/lib/sysctl.d ${dist}/loadstar.sysctl.conf NAME 60-loadstar.conf)
ls_package_files(loadstar usr/lib/NetworkManager/conf.d ${dist}/loadstar.networkmanager.conf NAME 10-loadstar.conf)
ls_package_files(loadstar lib/systemd/network ${dist}/loadstar.network NAME 10-loadstar.network)
ls_package_files(loadstar usr/lib/systemd/networkd.conf.d ${dist}/loadstar.networkd.conf NAME 10-loadstar.conf)
ls_package_files(loadstar usr/share/man/man1 ${package_dir}/man/loadstar.1.gz)
ls_package_files(loadstar usr/share/man/man5 ${package_dir}/man/loadstar.toml.5.gz)
ls_package_files(loadstar usr/share/man/man8 ${package_dir}/man/loadstard.8.gz ${package_dir}/man/loadstar-watchdog.8.gz)
ls_package_files(loadstar usr/share/bash-completion/completions ${package_dir}/completion/bash NAME loadstar)
ls_package_files(loadstar usr/share/zsh/vendor-completions ${package_dir}/completion/zsh NAME _loadstar)
ls_package_files(loadstar usr/share/fish/vendor_completions.d ${package_dir}/completion/fish NAME loadstar.fish)
# The pages for operators lead to those on the design.
install(DIRECTORY ${CMAKE_SOURCE_DIR}/docs/operate ${CMAKE_SOURCE_DIR}/docs/design DESTINATION usr/share/doc/loadstar COMPONENT loadstar
  FILE_PERMISSIONS OWNER_READ OWNER_WRITE GROUP_READ WORLD_READ FILES_MATCHING PATTERN "*.md")
ls_package_files(loadstar usr/share/doc/loadstar ${CMAKE_SOURCE_DIR}/docs/architecture.md)

install(TARGETS loadstar-cni RUNTIME DESTINATION usr/lib/loadstar/cni COMPONENT loadstar-cni)
ls_package_files(loadstar-cni usr/share/man/man8 ${package_dir}/man/loadstar-cni.8.gz)

foreach(package loadstar loadstar-cni)
  ls_package_files(${package} usr/share/doc/${package} ${deb_dir}/copyright ${package_dir}/changelog.Debian.gz)
  ls_package_files(${package} usr/share/lintian/overrides ${deb_dir}/${package}/lintian-overrides NAME ${package})
endforeach()

set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME loadstar)
set(CPACK_PACKAGE_VERSION ${PROJECT_VERSION})
set(CPACK_PACKAGE_VENDOR "the loadstar authors")
set(CPACK_PACKAGING_INSTALL_PREFIX /)
set(CPACK_STRIP_FILES ON)
set(CPACK_INSTALL_DEFAULT_DIRECTORY_PERMISSIONS OWNER_READ OWNER_WRITE OWNER_EXECUTE GROUP_READ GROUP_EXECUTE WORLD_READ WORLD_EXECUTE)
set(CPACK_COMPONENTS_ALL loadstar loadstar-cni)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_PACKAGE_MAINTAINER "loadstar maintainers <maintainers@loadstar.invalid>")
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_DEBIAN_COMPRESSION_TYPE xz)

set(CPACK_COMPONENT_LOADSTAR_DESCRIPTION "names, virtual IPs and addresses for a Mesos cluster
One daemon per machine follows the state of an Apache Mesos cluster and keeps
tables in the kernel equal to it; eBPF programs balance connections to virtual
IPs, answer DNS and steer the tunnels of an overlay. It replaces Mesos-DNS,
Spartan, Navstar, Minuteman and the overlay modules of a DC/OS node. What is
in the kernel goes on while the daemon is restarted or upgraded.")
set(CPACK_DEBIAN_LOADSTAR_PACKAGE_NAME loadstar)
set(CPACK_DEBIAN_LOADSTAR_PACKAGE_SHLIBDEPS ON)
# The unit, the user and the folders are made with systemd's tools; 247 is the first that knows CAP_BPF and CAP_PERFMON.
set(CPACK_DEBIAN_LOADSTAR_PACKAGE_DEPENDS "systemd (>= 247), init-system-helpers (>= 1.54~)")
set(CPACK_DEBIAN_LOADSTAR_PACKAGE_RECOMMENDS "loadstar-cni (= ${PROJECT_VERSION}-1)")
set(CPACK_DEBIAN_LOADSTAR_PACKAGE_SUGGESTS "bpftool, nftables")
set(CPACK_DEBIAN_LOADSTAR_PACKAGE_CONTROL_EXTRA
  "${deb_dir}/loadstar/postinst;${deb_dir}/loadstar/prerm;${deb_dir}/loadstar/postrm;${deb_dir}/loadstar/conffiles")

set(CPACK_COMPONENT_LOADSTAR-CNI_DESCRIPTION "CNI plugin of loadstar
Attaches containers of Mesos and other runtimes to a network, gives them
addresses of the overlay and maps host ports without iptables. It also serves
configurations for bridge, host-local, mesos-cni-port-mapper and dcos-l4lb.")
set(CPACK_DEBIAN_LOADSTAR-CNI_PACKAGE_NAME loadstar-cni)
set(CPACK_DEBIAN_LOADSTAR-CNI_PACKAGE_RECOMMENDS "loadstar")
include(CPack)
