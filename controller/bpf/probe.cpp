#include "bpf/probe.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <fmt/format.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <sys/utsname.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "bpf/link.h"
#include "bpf/object.h"
#include "util/unique_fd.h"

namespace ls::bpf {
namespace {

std::string errno_text(int err) {
  return std::generic_category().message(err);
}

Feature yes(std::string name) {
  return {std::move(name), true, {}};
}
Feature no(std::string name, std::string reason) {
  return {std::move(name), false, std::move(reason)};
}

std::string privilege_hint(int err) {
  return err == EPERM ? " (CAP_BPF and CAP_NET_ADMIN are needed)" : "";
}

/// "return 1": allow.
int load_trivial(bpf_prog_type type, bpf_attach_type attach) {
  bpf_insn insns[] = {
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .src_reg = 0, .off = 0, .imm = 1},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
  return bpf_prog_load(type, "ls_probe", "GPL", insns, 2, &opts);
}

Feature probe_bpf() {
  UniqueFd fd(load_trivial(BPF_PROG_TYPE_SCHED_CLS, bpf_attach_type(0)));
  if (fd) return yes("bpf");
  return no("bpf", errno_text(errno) + privilege_hint(errno));
}

Feature probe_btf() {
  // The smallest type section: a header, one 4-byte integer, its name.
  struct [[gnu::packed]] {
    uint16_t magic = 0xeb9f;
    uint8_t version = 1, flags = 0;
    uint32_t hdr_len = 24, type_off = 0, type_len = 16, str_off = 16, str_len = 5;
    uint32_t name = 1, info = 1u << 24, size = 4, encoding = 32;
    char strings[5] = {0, 'i', 'n', 't', 0};
  } raw;
  UniqueFd fd(bpf_btf_load(&raw, sizeof raw, nullptr));
  if (fd) return yes("btf");
  return no("btf", "the kernel takes no type data: " + errno_text(errno) + privilege_hint(errno));
}

Feature probe_tcx() {
  unsigned lo = if_nametoindex("lo");
  uint32_t count = 0;
  if (bpf_prog_query(int(lo ? lo : 1), bpf_attach_type(kTcxIngress), 0, nullptr, nullptr, &count) == 0)
    return yes("tcx");
  int err = errno;
  if (err == EINVAL || err == EOPNOTSUPP)
    return no("tcx", "kernel older than 6.6 or built without it; clsact is used");
  return no("tcx", errno_text(err) + privilege_hint(err));
}

Feature probe_cgroup_links() {
  for (auto type : {BPF_CGROUP_INET4_CONNECT, BPF_CGROUP_INET6_CONNECT, BPF_CGROUP_UDP4_SENDMSG,
                    BPF_CGROUP_UDP6_SENDMSG, BPF_CGROUP_UDP4_RECVMSG, BPF_CGROUP_UDP6_RECVMSG,
                    BPF_CGROUP_INET4_GETPEERNAME, BPF_CGROUP_INET6_GETPEERNAME}) {
    UniqueFd fd(load_trivial(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, type));
    if (!fd) {
      return no("cgroup_links",
                fmt::format("attach type {}: {}{}", int(type), errno_text(errno), privilege_hint(errno)));
    }
    // No group behind -1: a kernel that knows such links looks for it and says EBADF, another says EINVAL.
    if (auto link = Link::create_cgroup(fd.get(), -1, type); !link && link.error().code.value() != EBADF) {
      return no("cgroup_links", fmt::format("attach type {}: {}", int(type), link.error().text()));
    }
  }
  return yes("cgroup_links");
}

Feature probe_sk_storage() {
  if (libbpf_probe_bpf_map_type(BPF_MAP_TYPE_SK_STORAGE, nullptr) != 1)
    return no("sk_storage", "no such map type");
  if (libbpf_probe_bpf_helper(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_FUNC_sk_storage_get, nullptr) != 1) {
    return no("sk_storage", "cgroup programs may not use it");
  }
  return yes("sk_storage");
}

Feature probe_ring_buffer() {
  if (libbpf_probe_bpf_map_type(BPF_MAP_TYPE_RINGBUF, nullptr) == 1) return yes("ring_buffer");
  return no("ring_buffer", "no such map type (kernel older than 5.8)");
}

}  // namespace

KernelFeatures probe_kernel() {
  quiet_libbpf();
  KernelFeatures out;
  utsname name{};
  uname(&name);
  out.kernel = fmt::format("{} {}", name.release, name.machine);
  out.bpf = probe_bpf();
  out.btf = probe_btf();
  out.tcx = probe_tcx();
  out.cgroup_links = probe_cgroup_links();
  out.sk_storage = probe_sk_storage();
  out.ring_buffer = probe_ring_buffer();
  return out;
}

}  // namespace ls::bpf
