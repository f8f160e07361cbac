target_sources(ls_dns PRIVATE kernel_form.cpp)
