# loadstar-cni(8): started twice in the life of every container, so what it does not use is not loaded either.
add_executable(loadstar-cni cni_main.cpp)
target_link_libraries(loadstar-cni PRIVATE ls_cni)
target_link_options(loadstar-cni PRIVATE -Wl,--as-needed)
