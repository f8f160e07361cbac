#pragma once
/// nftables over netlink: one table of ours, written whole in one transaction and compared with what the kernel has.
/// (Not libnftables: it reads its rules back as text whose form changes between versions, and ends the process when no netlink socket is to be had.)
/// No product knowledge. Thread: one for each call. Cost: three dumps to compare, one batch to write. Needs CAP_NET_ADMIN.
/// Errors: errno of the kernel; EPROTONOSUPPORT, EOPNOTSUPP or EAFNOSUPPORT: a kernel without nftables or without one of its parts.
/// Numbers and formats: linux/netfilter/nf_tables.h; everything wider than an octet is in network order in there.
#include <cstdint>
#include <string>
#include <vector>

#include "util/network.h"
#include "util/result.h"

namespace ls::netlink {

/// One step of a rule: its name and its attributes, as the kernel takes them.
struct NftExpression {
  std::string name;
  std::vector<uint8_t> attributes;
};
using NftRule = std::vector<NftExpression>;

/// Parts of rules. Each tests one thing, in the first register, and the rule ends when the test fails.
void nft_match_family(NftRule&, bool v6);
/// The network is of the family that the packet has; test that first where both may come.
enum class NftSide { kSource, kDestination };
void nft_match_network(NftRule&, NftSide, const IpNetwork&);
/// The device that the packet leaves by. At most 15 octets.
void nft_match_output(NftRule&, const std::string& device);
void nft_count(NftRule&);
void nft_masquerade(NftRule&);
void nft_return(NftRule&);
void nft_go_to(NftRule&, const std::string& chain);

struct NftChain {
  std::string name;
  bool nat_postrouting = false;  ///< a chain of type nat at postrouting, priority srcnat (100), policy accept; else one that rules go to
  std::vector<NftRule> rules;
};

/// A table of family inet. Chains that rules go to stand before those rules' own.
struct NftTable {
  std::string name;
  std::vector<NftChain> chains;
};

enum class NftFound {
  kSame,
  kAbsent,
  kDiffers,  ///< a chain, rule, hook, flag or priority is missing, other, or one too many
};
/// Counters are not compared, nor sets, which a table of ours has none of.
Result<NftFound> nft_compare(const NftTable&);
/// The table is afterwards exactly this one; whatever was in it is gone. Packets see the old or the new one.
Result<> nft_replace(const NftTable&);
/// True when there was one.
Result<bool> nft_remove(const std::string& table);

}  // namespace ls::netlink
