#pragma once
/// The grammar of VIP labels, both forms (spec/minuteman-vips.md 1.3). Pure, thread: any.
/// Stricter than the system this one replaces where its record says so: ports end at 65535, a name must leave something
/// to ask for in DNS, `[v6]:port` is an address, addresses nobody may take over (loopback, multicast, unspecified) are refused.
#include <optional>
#include <string>
#include <string_view>

#include "util/address.h"
#include "util/result.h"

namespace ls {

/// What one label asks for.
struct VipTarget {
  std::string label;                 ///< without leading slashes; of an address VIP the address' text
  std::string folded;                ///< label folded (fold.h); empty for an address VIP
  std::optional<IpAddress> address;  ///< set: an address VIP
  uint16_t port = 0;
};

/// True for the key of a form 1 label: "VIP" or "vip", and anything after it.
bool is_vip_key(std::string_view key);

/// `name:port` or `address:port`. The error says what is wrong with the value.
Result<VipTarget> parse_vip(std::string_view value);

/// Form 2, on the task: key `vip_port<n>` in any case, value `tcp://name:port` or `udp://name:port`.
struct TaskVipLabel {
  uint64_t index = 0;      ///< into the task's port resources
  Protocol protocol = Protocol::kTcp;
  std::string_view value;  ///< what follows the scheme; a part of the argument
};
/// nullopt for everything that is not of this form: it is no VIP label then.
std::optional<TaskVipLabel> parse_task_label(std::string_view key, std::string_view value);

}  // namespace ls
