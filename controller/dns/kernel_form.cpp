#include "dns/kernel_form.h"

#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <optional>

#include "dns/response.h"
#include "loadstar/abi/dns.h"

namespace ls::dns {
namespace {

constexpr uint16_t kNoPointer = 0xffff;
constexpr size_t kSoaNumbers = 20;  // serial, refresh, retry, expire, minimum
constexpr size_t kSrvFront = 6;     // priority, weight, port

static_assert(LS_DNS_BODY(LS_DNS_KEY_MAX) + sizeof(ls_dns_ready) + LS_DNS_MESSAGE_MAX <= LS_DNS_ENTRY_MAX);
static_assert(LS_DNS_BODY(LS_DNS_KEY_MAX) + LS_DNS_SETS_MAX * sizeof(ls_dns_set) + LS_DNS_PADDED(8 * LS_DNS_A_MAX) +
                  LS_DNS_PADDED(32 * LS_DNS_AAAA_MAX) <= LS_DNS_ENTRY_MAX,
              "addresses always fit");

void clear(KernelBody& out) {
  out.octets.clear();
  out.flags = 0;
  out.sets = 0;
}

/// Room for `size` more octets, zeros, at a multiple of 8. Gives the place in `octets`.
size_t extend(std::vector<uint8_t>& octets, size_t size) {
  const size_t at = octets.size();
  octets.resize(at + LS_DNS_PADDED(size));
  return at;
}

bool is_folded(std::string_view name) {
  return std::none_of(name.begin(), name.end(), [](char c) { return c >= 'A' && c <= 'Z'; });
}

/// The target of the i-th record, with the octet that ends it.
std::string_view target_of(const RrSet& set, size_t i) { return set.rdata(i).substr(kSrvFront); }

size_t name_octets(std::string_view target) { return target.size() - (target.back() == kApexMark ? 1 : 0); }

/// Octets of an SRV set's data; more than LS_DNS_ENTRY_MAX when it cannot be kept.
size_t srv_octets(const RrSet& set) {
  size_t size = LS_DNS_PADDED(2 * LS_DNS_TIMES(set.count()));
  for (size_t i = 0; i < set.count(); ++i) {
    const size_t name = name_octets(target_of(set, i));
    if (name > LS_DNS_KEY_MAX) return LS_DNS_ENTRY_MAX + size_t{1};
    size += sizeof(ls_dns_srv) + LS_DNS_PADDED(name);
  }
  return size;
}

/// Writes the data of an SRV set behind `out`, of an entry whose body is at `base`. Gives the set's flags.
uint16_t write_srv(const RrSet& set, size_t base, const std::function<uint64_t(std::string_view)>& hash_of, std::vector<uint8_t>& out) {
  uint16_t flags = 0;
  const size_t offsets = extend(out, 2 * LS_DNS_TIMES(set.count()));
  for (size_t i = 0; i < set.count(); ++i) {
    const std::string_view target = target_of(set, i);
    const bool below = target.back() == kApexMark;
    const std::string_view name = target.substr(0, name_octets(target));
    ls_dns_srv srv{};
    std::memcpy(srv.front, set.rdata(i).data(), kSrvFront);
    srv.name_octets = static_cast<uint8_t>(name.size());
    if (below) srv.flags = LS_DNS_SRV_BELOW;
    if (!below || !is_folded(name)) flags |= LS_DNS_SET_OUTSIDE;
    if (below) {
      std::array<uint8_t, LS_DNS_KEY_MAX> folded;
      std::memcpy(folded.data(), name.data(), name.size());
      fold({folded.data(), name.size()});
      srv.target_hash = hash_of({reinterpret_cast<const char*>(folded.data()), name.size()});
    }
    size_t same = 0;
    while (target_of(set, same) != target) ++same;
    srv.target = static_cast<uint8_t>(same);
    const size_t at = extend(out, sizeof srv + name.size());
    std::memcpy(out.data() + at, &srv, sizeof srv);
    std::memcpy(out.data() + at + sizeof srv, name.data(), name.size());
    const auto offset = static_cast<uint16_t>(base + at);
    std::memcpy(out.data() + offsets + 2 * i, &offset, 2);
    if (set.count() > 1) std::memcpy(out.data() + offsets + 2 * (set.count() + i), &offset, 2);
  }
  return flags;
}

size_t most_records(RrType type) {
  return type == RrType::kA ? LS_DNS_A_MAX : type == RrType::kAaaa ? LS_DNS_AAAA_MAX : LS_DNS_SRV_MAX;
}

uint8_t form_of(RrType type) {
  return type == RrType::kA ? LS_DNS_FORM_A : type == RrType::kAaaa ? LS_DNS_FORM_AAAA : LS_DNS_FORM_SRV;
}

/// The name as far as it is in front of the apex; nothing when it does not end with the apex.
std::optional<std::string_view> in_front_of(const DnsName& apex, const DnsName& name) {
  if (!name.is_within(apex)) return std::nullopt;
  return name.wire().substr(0, name.wire().size() - apex.wire().size());
}

/// The data of the view's SOA. False: it does not fit.
bool write_soa(const ZoneView& view, ls_dns_view& out) {
  size_t at = 0;
  const DnsName* names[] = {&view.soa.mname, &view.soa.rname};
  for (size_t i = 0; i < 2; ++i) {
    const auto front = in_front_of(view.apex, *names[i]);
    const std::string_view part = front ? *front : names[i]->wire();
    const size_t pointer = front ? 2 : 0;
    if (at + part.size() + pointer + kSoaNumbers > sizeof out.soa) return false;
    std::memcpy(out.soa + at, part.data(), part.size());
    at += part.size();
    if (front) out.soa_pointer[i] = static_cast<uint16_t>(at);
    at += pointer;
  }
  for (const uint32_t v : {view.table->serial(), view.soa.refresh, view.soa.retry, view.soa.expire, view.soa.minimum}) {
    put32(out.soa + at, v);
    at += 4;
  }
  out.soa_octets = static_cast<uint16_t>(at);
  return true;
}

uint32_t rule_flags(const ZoneView& view) {
  const AnswerRules& r = view.rules;
  uint32_t flags = 0;
  if (r.soa_at_question) flags |= LS_DNS_VIEW_SOA_AT_QUESTION;
  if (r.srv_never_nxdomain) flags |= LS_DNS_VIEW_SRV_NEVER_NXDOMAIN;
  if (r.nxdomain_at_empty) flags |= LS_DNS_VIEW_NXDOMAIN_AT_EMPTY;
  if (r.strip_star_labels) flags |= LS_DNS_VIEW_STRIP_STARS;
  if (r.refuse_rrsig) flags |= LS_DNS_VIEW_REFUSE_RRSIG;
  if (r.refuse_below) flags |= LS_DNS_VIEW_REFUSE_BELOW;
  if (r.srv_additional) flags |= LS_DNS_VIEW_SRV_ADDITIONAL;
  if (r.recursion_available) flags |= LS_DNS_VIEW_RA;
  if (r.rotation == Rotation::kRandom) flags |= LS_DNS_VIEW_RANDOM;
  if (r.rotation == Rotation::kRoundRobin) flags |= LS_DNS_VIEW_ROUND_ROBIN;
  if (view.srv_override) flags |= LS_DNS_VIEW_SRV_OVERRIDE;
  return flags;
}

void write_view(const ls_dns_view& view, KernelBody& out) {
  clear(out);
  const auto* octets = reinterpret_cast<const uint8_t*>(&view);
  out.octets.assign(octets, octets + sizeof view);
}

/// Addresses at the end of the answers that differ in nothing but their data.
void find_run(const Response& r, ls_dns_ready& ready) {
  const size_t answers = r.count(Section::kAnswer);
  if (answers == 0) return;
  const ResponseRecord& last = r.records[answers - 1];
  const bool addresses = (last.type == static_cast<uint16_t>(RrType::kA) && last.rdata_size == 4) ||
                         (last.type == static_cast<uint16_t>(RrType::kAaaa) && last.rdata_size == 16);
  if (!addresses || last.type != r.question_type) return;
  const size_t head = size_t{last.rdata} - last.owner;
  size_t first = answers - 1;
  while (first > 0) {
    const ResponseRecord& before = r.records[first - 1];
    if (size_t{before.rdata} - before.owner != head) break;
    if (std::memcmp(r.message.data() + before.owner, r.message.data() + last.owner, head) != 0) break;
    --first;
  }
  if (answers - first < 2) return;
  ready.rotate_at = static_cast<uint16_t>(r.records[first].rdata - r.question_end);
  ready.rotate_stride = static_cast<uint16_t>(head + last.rdata_size);
  ready.rotate_count = static_cast<uint16_t>(answers - first);
  ready.rotate_octets = last.rdata_size;
}

/// What is behind the question of an answer that was read. `flags`: those of the answer that are kept.
bool write_ready(const Response& r, uint16_t flags, bool rotate, ls_dns_ready& ready, KernelBody& out) {
  if (!r.has_question || (r.flags & kTc)) return false;
  if (r.rcode != Rcode::kNoError && r.rcode != Rcode::kNxDomain) return false;
  const size_t size = r.body_end - r.question_end;
  if (r.body_end > LS_DNS_MESSAGE_MAX) return false;
  for (const Section s : {Section::kAnswer, Section::kAuthority, Section::kAdditional})
    ready.counts_be[static_cast<size_t>(s)] = htons(static_cast<uint16_t>(r.count(s)));
  ready.flags_be = htons(static_cast<uint16_t>(r.flags & flags) | static_cast<uint16_t>(r.rcode));
  ready.body_octets = static_cast<uint16_t>(size);
  if (rotate) find_run(r, ready);
  out.octets.resize(sizeof ready + size);
  std::memcpy(out.octets.data(), &ready, sizeof ready);
  if (size != 0) std::memcpy(out.octets.data() + sizeof ready, r.message.data() + r.question_end, size);
  return true;
}

}  // namespace

bool KernelBody::partial() const { return flags & LS_DNS_PARTIAL; }

void kernel_name(const ZoneName& name, const std::function<uint64_t(std::string_view relative)>& hash_of, KernelBody& out) {
  clear(out);
  if (name.empty_non_terminal()) {
    out.flags = LS_DNS_EMPTY;
    return;
  }
  const size_t base = LS_DNS_BODY(name.owner().size());
  std::array<std::optional<RrSet>, 3> kept = {name.rrset(RrType::kA), name.rrset(RrType::kAaaa), name.rrset(RrType::kSrv)};
  // Addresses always fit, and what is left is for SRV.
  size_t size = base, count = 0;
  for (auto& set : kept) {
    if (!set) continue;
    size_t data = set->count() > most_records(set->type()) ? LS_DNS_ENTRY_MAX + size_t{1} : 0;
    if (data == 0) {
      if (set->type() == RrType::kSrv) data = srv_octets(*set);
      else data = LS_DNS_PADDED((set->type() == RrType::kA ? 4 : 16) * LS_DNS_TIMES(set->count()));
    }
    if (size + sizeof(ls_dns_set) + data > LS_DNS_ENTRY_MAX) {
      set.reset();
      continue;
    }
    size += sizeof(ls_dns_set) + data;
    ++count;
  }
  if (count < name.rrset_count()) out.flags |= LS_DNS_PARTIAL;
  out.sets = static_cast<uint8_t>(count);
  out.octets.reserve(size - base);
  size_t head_at = extend(out.octets, count * sizeof(ls_dns_set));
  for (const auto& set : kept) {
    if (!set) continue;
    ls_dns_set head{};
    head.type_be = htons(static_cast<uint16_t>(set->type()));
    head.form = form_of(set->type());
    head.count = static_cast<uint8_t>(set->count());
    head.ttl = set->ttl();
    head.at = static_cast<uint16_t>(base + out.octets.size());
    if (set->type() == RrType::kSrv) {
      head.flags = write_srv(*set, base, hash_of, out.octets);
    } else {
      size_t fixed = set->type() == RrType::kA ? 4 : 16;
      const size_t times = LS_DNS_TIMES(set->count()), at = extend(out.octets, fixed * times);
      for (size_t i = 0; i < times; ++i) std::memcpy(out.octets.data() + at + i * fixed, set->rdata(i % set->count()).data(), fixed);
    }
    std::memcpy(out.octets.data() + head_at, &head, sizeof head);
    head_at += sizeof head;
  }
}

void kernel_view(const ZoneView& view, uint32_t zone, uint32_t ready, bool complete, bool nested, KernelBody& out) {
  ls_dns_view v{};
  // Programs write a target with the apex as it is in the folded question. One that is spelt otherwise is the process's: nothing is found
  // in a space without entries, and nothing is denied.
  const bool spelt = is_folded(view.apex.wire());
  v.zone = spelt ? zone : 0;
  v.ready = ready;
  v.flags = rule_flags(view);
  if (complete && spelt) v.flags |= LS_DNS_VIEW_COMPLETE;
  if (nested) v.flags |= LS_DNS_VIEW_NESTED;
  v.ttl = view.ttl;
  v.soa_ttl = view.soa.ttl;
  v.soa_negative_ttl = view.soa.negative_ttl;
  if (view.srv_override) {
    v.srv_front_be[0] = htons(view.srv_override->first);
    v.srv_front_be[1] = htons(view.srv_override->second);
  }
  v.soa_pointer[0] = v.soa_pointer[1] = kNoPointer;
  if (view.apex.is_root() || !write_soa(view, v)) v.flags |= LS_DNS_VIEW_UP;
  write_view(v, out);
}

void kernel_view(const ForwardGroup& group, KernelBody& out) {
  ls_dns_view v{};
  v.flags = LS_DNS_VIEW_FORWARD | (group.cached ? 0u : uint32_t{LS_DNS_VIEW_UNCACHED});
  v.soa_pointer[0] = v.soa_pointer[1] = kNoPointer;
  write_view(v, out);
}

bool kernel_ready(std::span<const uint8_t> message, bool rotate, KernelBody& out) {
  clear(out);
  thread_local Response response;
  if (!response.read(message)) return false;
  ls_dns_ready ready{};
  return write_ready(response, kAa | kRa, rotate, ready, out);
}

bool kernel_cached(std::span<const uint8_t> message, uint64_t stored_ns, uint64_t expires_ns, KernelBody& out) {
  clear(out);
  thread_local Response response;
  if (!response.read(message) || response.body_records > LS_DNS_TTLS_MAX) return false;
  ls_dns_ready ready{};
  ready.stored_ns = stored_ns;
  ready.expires_ns = expires_ns;
  for (size_t i = 0; i < response.body_records; ++i) {
    const ResponseRecord& r = response.records[i];
    if (r.ttl & 0x80000000u) return false;  // RFC 2181 8: ends at once
    ready.ttl_at[i] = static_cast<uint16_t>(r.fixed + 4 - response.question_end);
  }
  ready.ttls = static_cast<uint16_t>(response.body_records);
  if (!write_ready(response, kAd, true, ready, out)) return false;
  // Who forwards offers recursion and is no authority (reply_flags in response.cpp).
  ls_dns_ready sent;
  std::memcpy(&sent, out.octets.data(), sizeof sent);
  sent.flags_be |= htons(kRa);
  std::memcpy(out.octets.data(), &sent, sizeof sent);
  return true;
}

}  // namespace ls::dns
