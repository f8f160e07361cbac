# Owners of what BPF hands out: pins, links, tc filters, objects, ring buffers, and what this kernel can do.
ls_library(bpf_load SOURCES pin.cpp link.cpp tc_filter.cpp object.cpp ring_buffer.cpp probe.cpp
  DEPS ls_util PkgConfig::LIBBPF)
