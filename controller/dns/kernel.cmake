target_sources(ls_dns PRIVATE kernel_answers.cpp kernel_cached.cpp kernel_form.cpp kernel_mirror.cpp kernel_views.cpp kernel_zone.cpp)
