// KernelMirror: whole answers of names with aliases and other records than A, AAAA and SRV, and of the name servers of each view.
#include <algorithm>
#include <cstring>

#include "dns/answer.h"
#include "dns/kernel_mirror_impl.h"
#include "dns/response.h"

namespace ls::dns {
namespace {

constexpr size_t kMaxAliases = 16;  // as answer.cpp follows them

std::string lead_key(uint32_t space, std::string_view relative) {
  std::string key(sizeof space, '\0');
  std::memcpy(key.data(), &space, sizeof space);
  return key.append(relative);
}

/// The types that a name's own entry does not have, and that can be answered whole.
std::vector<RrType> types_of(const ZoneName* name) {
  std::vector<RrType> types;
  if (!name) return types;
  name->for_each([&types](RrSet set) {
    const RrType t = set.type();
    if (t != RrType::kA && t != RrType::kAaaa && t != RrType::kSrv && t != RrType::kSoa && t != RrType::kOpt) types.push_back(t);
  });
  if (!name->rrset(RrType::kCname)) return types;
  for (const RrType t : {RrType::kA, RrType::kAaaa})
    if (!name->rrset(t)) types.push_back(t);
  return types;
}

/// The absolute folded name in a record; empty: too long.
std::string target_in(RrType type, std::string_view rdata, const DnsName& apex) {
  const auto name = target_of(type, rdata, apex);
  return name ? std::string(name->folded().wire()) : std::string();
}

/// What a daemon before may have made answers of.
constexpr RrType kLeftTypes[] = {RrType::kA, RrType::kNs, RrType::kCname, RrType::kPtr, RrType::kMx, RrType::kTxt, RrType::kAaaa, RrType::kCaa};

}  // namespace

void KernelMirror::Impl::answer(Zone& zone, const std::string& owner) {
  if (quiet) return;
  const auto at = zone.partial.find(owner);
  if (at == zone.partial.end()) return;
  const std::string name_held = owner;  // `owner` may be what is erased below
  const ZoneName* name = zone.table->find(name_held);
  KernelAnswers fresh;
  zone.dated.erase(name_held);
  // An entry that sends everything up, or that is not there, leads to no answer.
  if (!zone.process.contains(name_held) && !zone.missing.contains(name_held)) make_answers(zone, name_held, name, fresh);
  for (const auto& had : at->second.ready) {
    if (std::find(fresh.ready.begin(), fresh.ready.end(), had) != fresh.ready.end()) continue;
    remove({had.first, had.second, name_held});
  }
  if (!is_settled) {
    for (const KernelSeen& s : zone.seen)
      for (const RrType t : kLeftTypes) {
        const std::pair<uint32_t, uint16_t> left{s.ready, static_cast<uint16_t>(t)};
        if (std::find(fresh.ready.begin(), fresh.ready.end(), left) == fresh.ready.end()) remove({left.first, left.second, name_held});
      }
  }
  ready_count += fresh.ready.size();
  ready_count -= at->second.ready.size();
  forget_way(zone, name_held, at->second);
  for (const std::string& key : fresh.through) leads[key].emplace(&zone, name_held);
  at->second = std::move(fresh);
  if (!name_held.empty() && types_of(name).empty()) zone.partial.erase(at);
}

void KernelMirror::Impl::answer_all() {
  for (auto& [table, zone] : zones) {
    std::vector<std::string> owners;
    for (const auto& [owner, answers] : zone->partial) owners.push_back(owner);
    for (const std::string& owner : owners) answer(*zone, owner);
  }
}

void KernelMirror::Impl::answer_through(const Zone& zone, std::string_view owner) {
  if (quiet || leads.empty()) return;
  const auto at = leads.find(lead_key(zone.space, owner));
  if (at == leads.end()) return;
  const auto names = at->second;
  for (const auto& [from, name] : names)
    if (from != &zone || name != owner) answer(*from, name);
}

void KernelMirror::Impl::make_answers(Zone& zone, const std::string& owner, const ZoneName* name, KernelAnswers& out) {
  const std::vector<RrType> types = types_of(name);
  find_way(zone, owner, name, out);
  const bool more_dated = zone.dated.size() < kMaxDated;
  for (const KernelSeen& seen : zone.seen) {
    bool servers = owner.empty() && !seen.view->rules.soa_at_question;
    const auto make = [&](RrType type) {
      bool dated = false;
      if (!make_answer(seen, owner, type, out, dated)) return;
      if (!dated) return;
      if (more_dated) {
        zone.dated.insert(owner);
      } else {
        remove({seen.ready, static_cast<uint16_t>(type), owner});
        out.ready.pop_back();
      }
    };
    for (const RrType type : types) {
      if (type == RrType::kNs) servers = false;
      make(type);
    }
    if (servers) make(RrType::kNs);
  }
}

/// `dated`: the answer holds the zone's serial. False: it cannot be kept.
bool KernelMirror::Impl::make_answer(const KernelSeen& seen, const std::string& owner, RrType type, KernelAnswers& out, bool& dated) {
  if (owner.find('*') != std::string::npos || owner.size() + seen.suffix.size() > DnsName::kMaxWire) return false;
  std::array<uint8_t, kHeader + DnsName::kMaxWire + 4> packet{};
  put16(packet.data() + 4, 1);
  const size_t name_size = owner.size() + seen.suffix.size(), end = kHeader + name_size;
  std::memcpy(packet.data() + kHeader, owner.data(), owner.size());
  std::memcpy(packet.data() + kHeader + owner.size(), seen.suffix.data(), seen.suffix.size());
  put16(packet.data() + end, static_cast<uint16_t>(type));
  put16(packet.data() + end + 2, kClassIn);
  Query query;
  if (parse_query({packet.data(), end + 4}, query).outcome != ParseOutcome::kGood) return false;
  const Routes& all = *routes[seen.service];
  if (all.find(query.folded()).zone != seen.view) return false;  // another view begins in between
  AnswerLimits limits;
  limits.tcp = true;  // whole: what is cut depends on who asks
  const Answer answer = answer_from_zone(query, seen.still, all, limits, message);
  if (answer.size == 0 || answer.outside || answer.truncated) return false;
  if (!kernel_ready({message.data(), answer.size}, seen.view->rules.rotation != Rotation::kNone, body)) return false;
  ls_dns_ready ready;
  std::memcpy(&ready, body.octets.data(), sizeof ready);
  dated = ready.counts_be[1] != 0;
  const KernelKey key{seen.ready, static_cast<uint16_t>(type), owner};
  if (!store.put(key, 0, 0, body.octets)) {
    remove(key);
    return false;
  }
  out.ready.emplace_back(seen.ready, static_cast<uint16_t>(type));
  return true;
}

/// What an answer depends on beside the name's own records: the names behind its aliases, and those whose addresses go along.
void KernelMirror::Impl::find_way(const Zone& zone, const std::string& owner, const ZoneName* name, KernelAnswers& out) const {
  for (const KernelSeen& seen : zone.seen) {
    const Routes& all = *routes[seen.service];
    const auto lead = [&](std::string_view target, const ZoneView*& view, std::string& relative) {
      view = all.find(target).zone;
      if (!view) return false;
      relative = target.substr(0, target.size() - view->apex.wire().size());
      out.through.push_back(lead_key(zones.at(view->table.get())->space, relative));
      return true;
    };
    const ZoneView* view = seen.view;
    const ZoneView* at = nullptr;
    std::string relative;
    if (owner.empty() && !view->rules.soa_at_question)
      for (const DnsName& server : view->name_servers) lead(server.folded().wire(), at, relative);
    for (const RrType type : {RrType::kMx, RrType::kNs}) {
      const auto set = name ? name->rrset(type) : std::nullopt;
      for (size_t i = 0; set && i < set->count(); ++i)
        if (const std::string target = target_in(type, set->rdata(i), view->apex); !target.empty()) lead(target, at, relative);
    }
    const ZoneName* next = name;
    for (size_t i = 0; next && i <= kMaxAliases; ++i) {
      const auto alias = next->rrset(RrType::kCname);
      if (!alias) break;
      const std::string target = target_in(RrType::kCname, alias->rdata(0), view->apex);
      if (target.empty() || !lead(target, view, relative)) break;
      next = view->table->find(relative);
    }
  }
  std::sort(out.through.begin(), out.through.end());
  out.through.erase(std::unique(out.through.begin(), out.through.end()), out.through.end());
}

void KernelMirror::Impl::forget_way(Zone& zone, const std::string& owner, const KernelAnswers& answers) {
  for (const std::string& key : answers.through) {
    const auto at = leads.find(key);
    if (at == leads.end()) continue;
    at->second.erase({&zone, owner});
    if (at->second.empty()) leads.erase(at);
  }
}

}  // namespace ls::dns
