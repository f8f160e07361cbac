#pragma once
/// What this kernel and these privileges allow, asked by trying (never by comparing versions: distributions
/// port features back). Thread: any. Cost: about ten small program loads, done once at start. A feature that
/// is missing says why.
#include <string>
#include <vector>

namespace ls::bpf {

struct Feature {
  std::string name;  ///< as status shows it
  bool available = false;
  std::string reason;  ///< why not; empty when available
};

struct KernelFeatures {
  std::string kernel;    ///< uname -r and -m
  Feature bpf;           ///< bpf(2) at all, for this user
  Feature btf;           ///< map BTF: names in bpftool's dumps, socket storage and spin locks need it
  Feature tcx;           ///< device links, kernel 6.6; without it clsact filters are used
  Feature cgroup_links;  ///< links for connect, sendmsg, recvmsg and getpeername, kernel 5.8
  Feature sk_storage;    ///< socket storage from cgroup programs
  Feature ring_buffer;   ///< kernel 5.8
  std::vector<const Feature*> all() const {
    return {&bpf, &btf, &tcx, &cgroup_links, &sk_storage, &ring_buffer};
  }
};

KernelFeatures probe_kernel();

}  // namespace ls::bpf
