#include "bpf/tc_filter.h"

#include <bpf/libbpf.h>

#include <cerrno>

#include "bpf/object.h"

namespace ls::bpf {
namespace {

bpf_tc_hook hook_of(int ifindex, bpf_tc_attach_point point) {
  LIBBPF_OPTS(bpf_tc_hook, hook, .ifindex = ifindex, .attach_point = point);
  return hook;
}
bpf_tc_hook hook_of(const TcPlace& p) {
  return hook_of(p.ifindex, p.side == TcSide::kIngress ? BPF_TC_INGRESS : BPF_TC_EGRESS);
}
bool absent(int err) {
  return err == -ENOENT || err == -EINVAL || err == -ENODEV;
}

}  // namespace

Result<bool> make_clsact(int ifindex) {
  quiet_libbpf();
  auto hook = hook_of(ifindex, bpf_tc_attach_point(BPF_TC_INGRESS | BPF_TC_EGRESS));
  int err = bpf_tc_hook_create(&hook);
  if (err == -EEXIST) return false;
  if (err) return fail(-err, "make the clsact qdisc");
  return true;
}

Result<> remove_clsact(int ifindex) {
  quiet_libbpf();
  auto hook = hook_of(ifindex, bpf_tc_attach_point(BPF_TC_INGRESS | BPF_TC_EGRESS));
  int err = bpf_tc_hook_destroy(&hook);
  if (err && !absent(err)) return fail(-err, "remove the clsact qdisc");
  return {};
}

Result<> attach_filter(const TcPlace& p, int program_fd, bool replace) {
  quiet_libbpf();
  auto hook = hook_of(p);
  LIBBPF_OPTS(bpf_tc_opts, opts, .prog_fd = program_fd, .flags = uint32_t(replace ? BPF_TC_F_REPLACE : 0),
              .handle = p.handle, .priority = p.priority);
  int err = bpf_tc_attach(&hook, &opts);
  if (err) return fail(-err, "attach by clsact");
  return {};
}

Result<std::optional<uint32_t>> query_filter(const TcPlace& p) {
  quiet_libbpf();
  auto hook = hook_of(p);
  LIBBPF_OPTS(bpf_tc_opts, opts, .handle = p.handle, .priority = p.priority);
  int err = bpf_tc_query(&hook, &opts);
  if (absent(err)) return std::optional<uint32_t>();
  if (err) return fail(-err, "read a clsact filter");
  return std::optional<uint32_t>(opts.prog_id);
}

Result<> detach_filter(const TcPlace& p) {
  quiet_libbpf();
  auto hook = hook_of(p);
  LIBBPF_OPTS(bpf_tc_opts, opts, .handle = p.handle, .priority = p.priority);
  int err = bpf_tc_detach(&hook, &opts);
  if (err && !absent(err)) return fail(-err, "remove a clsact filter");
  return {};
}

}  // namespace ls::bpf
