#pragma once
/// The real programs with a zone `mesos` in their maps, and the bare one with the same names. Root; ends the process on errors.
#include <bpf/libbpf.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "loadstar/abi/dns.h"

namespace dk {


/// What the hosts of an installation may have switched on beside the answers.
struct Guards {
  bool acl = false;        ///< clients are looked up in ls_dns_acl
  uint32_t rate_step = 0;  ///< ls_dns_service.rate_step
};

class KernelZone {
 public:
  /// `names` hosts and as many services. `listen_be`, `port_be`: where the authority is asked.
  KernelZone(uint32_t names, uint32_t listen_be, uint16_t port_be);
  ~KernelZone();
  KernelZone(const KernelZone&) = delete;

  void guard(const Guards&);
  int xdp() const { return xdp_; }  ///< ls_dns_xdp
  int tc() const { return tc_; }    ///< ls_dns_port
  /// Results since the start, as text: "hit 5, up_name 1".
  std::string results() const;
  uint64_t count(int hook, int result) const;

 private:
  bpf_object* objects_[2] = {};
  int xdp_ = -1, tc_ = -1;
  ls_dns_conf conf_{};
  struct Zone;
  std::unique_ptr<Zone> zone_;  ///< has mappings of its own, so it may outlive the objects
};

}  // namespace dk
