#include "overlay/masquerade.h"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>

#include "netlink/nft.h"

namespace ls::overlay {
namespace {

using netlink::NftChain;
using netlink::NftRule;
using netlink::NftSide;
using netlink::NftTable;

constexpr char kLeaving4[] = "leaving4", kLeaving6[] = "leaving6";

template <class T>
std::vector<T> sorted(std::vector<T> list) {
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

/// What comes from a container of one family and has not stayed inside.
NftChain leaving(const MasqueradeSpec& spec, bool v6) {
  NftChain chain{v6 ? kLeaving6 : kLeaving4, false, {}};
  auto stays = [&](auto test) {
    NftRule rule;
    test(rule);
    netlink::nft_return(rule);
    chain.rules.push_back(std::move(rule));
  };
  for (auto& d : sorted(spec.inside_devices)) stays([&](NftRule& r) { netlink::nft_match_output(r, d); });
  auto inside = spec.inside;
  inside.push_back(*IpNetwork::parse(v6 ? "ff00::/8" : "224.0.0.0/4"));
  for (auto& n : sorted(inside))
    if (n.address.is_v4() != v6) stays([&](NftRule& r) {
      netlink::nft_match_family(r, v6);  // so that nft shows an address and not octets at an offset
      netlink::nft_match_network(r, NftSide::kDestination, n);
    });
  NftRule last;
  netlink::nft_count(last);
  netlink::nft_masquerade(last);
  chain.rules.push_back(std::move(last));
  return chain;
}

NftTable table_of(const MasqueradeSpec& spec) {
  NftTable table{kMasqueradeTable, {}};
  NftChain post{"postrouting", true, {}};
  for (auto& s : sorted(spec.sources)) {
    bool v6 = !s.address.is_v4();
    NftRule rule;
    netlink::nft_match_family(rule, v6);
    netlink::nft_match_network(rule, NftSide::kSource, s);
    netlink::nft_go_to(rule, v6 ? kLeaving6 : kLeaving4);
    post.rules.push_back(std::move(rule));
  }
  table.chains = {leaving(spec, false), leaving(spec, true), std::move(post)};
  return table;
}

Result<> check(const MasqueradeSpec& spec) {
  for (auto& d : spec.inside_devices)
    if (d.empty() || d.size() > 15 || d.find('\0') != d.npos) return fail(fmt::format("masquerade: \"{}\" is no name of a device", d.substr(0, 20)));
  return {};
}

}  // namespace

Result<MasqueradeReport> ensure_masquerade(const MasqueradeSpec& spec) {
  LS_TRY(check(spec));
  MasqueradeReport report;
  if (spec.sources.empty()) {
    LS_ASSIGN(report.repaired, remove_masquerade());
    return report;
  }
  auto table = table_of(spec);
  auto found = netlink::nft_compare(table);
  if (!found) return pass(std::move(found.error()), "masquerade of the overlay");
  if (*found == netlink::NftFound::kSame) return report;
  if (auto done = netlink::nft_replace(table); !done) return pass(std::move(done.error()), "masquerade of the overlay");
  (*found == netlink::NftFound::kAbsent ? report.made : report.repaired) = true;
  return report;
}

Result<bool> remove_masquerade() {
  auto r = netlink::nft_remove(kMasqueradeTable);
  if (!r) {
    int why = r.error().code.value();
    if (why == EPROTONOSUPPORT || why == EOPNOTSUPP || why == EAFNOSUPPORT) return false;
  }
  return r;
}

}  // namespace ls::overlay
