#include "dns/answer.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "dns/message_writer.h"

namespace ls::dns {
namespace {

constexpr size_t kMaxAliases = 16;   // longer chains are taken for loops
constexpr size_t kShuffled = 64;     // records that change places; larger sets begin at a random one
constexpr size_t kMaxTargets = 512;  // targets whose addresses are added
constexpr uint16_t kUnplaced = 0x4000;  // no pointer leads that far

struct NameBuffer {
  std::array<uint8_t, DnsName::kMaxWire> octets;
  size_t size;
  std::string_view wire() const { return {reinterpret_cast<const char*>(octets.data()), size}; }
};

/// The name in `rdata` from `offset` on, absolute, as stored. False: longer than a name may be.
bool absolute_name(std::string_view rdata, size_t offset, const DnsName& apex, NameBuffer& out) {
  const std::string_view name = rdata.substr(offset);
  const bool relative = name.back() == kApexMark;
  const std::string_view front = name.substr(0, name.size() - (relative ? 1 : 0));
  const std::string_view end = relative ? apex.wire() : std::string_view();
  if (front.size() + end.size() > out.octets.size()) return false;
  std::memcpy(out.octets.data(), front.data(), front.size());
  if (!end.empty()) std::memcpy(out.octets.data() + front.size(), end.data(), end.size());
  out.size = front.size() + end.size();
  return true;
}

uint64_t next_random(uint64_t& state) {
  uint64_t z = state += 0x9e3779b97f4a7c15ull;  // SplitMix64
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

size_t below(uint64_t& state, size_t n) { return static_cast<size_t>(((next_random(state) >> 32) * n) >> 32); }

bool rotates(RrType type) { return type == RrType::kA || type == RrType::kAaaa || type == RrType::kSrv; }

/// In which order the records of a set are written.
class Order {
 public:
  Order(size_t n, RrType type, Rotation rotation, uint16_t id, uint64_t& random) : n_(n) {
    if (n < 2 || rotation == Rotation::kNone || !rotates(type)) return;
    if (rotation == Rotation::kRoundRobin) {
      start_ = id % n;
    } else if (n > kShuffled) {
      start_ = below(random, n);
    } else {
      for (size_t i = 0; i < n; ++i) place_[i] = static_cast<uint8_t>(i);
      for (size_t i = n - 1; i > 0; --i) std::swap(place_[i], place_[below(random, i + 1)]);
      shuffled_ = true;
    }
  }
  size_t operator[](size_t i) const {
    if (shuffled_) return place_[i];
    i += start_;
    return i < n_ ? i : i - n_;
  }

 private:
  const size_t n_;
  size_t start_ = 0;
  bool shuffled_ = false;
  std::array<uint8_t, kShuffled> place_;
};

/// Spec 10.2: ".*" is taken out wherever it is; the label in front grows by what is left of the label. False: such a name is nowhere.
bool strip_stars(std::string_view relative, NameBuffer& out) {
  size_t last = 0;  // where the last label's length is, in out
  out.size = 0;
  for (size_t at = 0; at < relative.size();) {
    const auto length = static_cast<uint8_t>(relative[at]);
    const std::string_view label = relative.substr(at + 1, length);
    at += length + size_t{1};
    if (out.size != 0 && label[0] == '*') {
      if (out.octets[last] + label.size() - 1 > DnsName::kMaxLabel) return false;
      out.octets[last] = static_cast<uint8_t>(out.octets[last] + label.size() - 1);
      std::memcpy(out.octets.data() + out.size, label.data() + 1, label.size() - 1);
      out.size += label.size() - 1;
    } else {
      last = out.size;
      out.octets[out.size++] = length;
      std::memcpy(out.octets.data() + out.size, label.data(), length);
      out.size += length;
    }
  }
  return true;
}

/// One answer in the making.
class Composer {
 public:
  Composer(const Query& query, const ZoneView& view, const Routes& routes, const AnswerLimits& limits, std::span<uint8_t> out,
           size_t limit)
      : query_(query), view_(view), routes_(routes), rules_(view.rules), out_(query, out, limit, true),
        apex_at_(static_cast<uint16_t>(kHeader + query.name_size - view.apex.wire().size())), random_(limits.random),
        udp_(!limits.tcp) {
    out_.know(query.folded(), kQuestionName);
    result_.zone = &view;
  }

  /// False: an answer without records, with this rcode.
  bool compose(std::string_view relative, RrType type) {
    if (type == RrType::kAny) return any(relative);
    if (rules_.soa_at_question && (type == RrType::kSoa || type == RrType::kNs)) {
      type == RrType::kSoa ? authority_soa(view_.soa.ttl) : name_servers(Section::kAuthority);
      return true;
    }
    return chase(relative, type);
  }

  Answer& result() { return result_; }
  MessageWriter& out() { return out_; }

 private:
  bool refuse(Rcode rcode) {
    result_.rcode = rcode;
    return false;
  }

  /// RFC 8020: a name with names below it is there.
  bool exists(const ZoneName* name, std::string_view relative) const {
    if (rules_.nxdomain_at_empty) return name && !name->empty_non_terminal();
    return name || relative.empty();
  }

  bool chase(std::string_view relative, RrType type) {
    const ZoneView* view = &view_;
    uint16_t owner = kQuestionName;
    for (size_t aliases = 0;; ++aliases) {
      const ZoneName* name = view->table->find(relative);
      if (relative.empty() && !view->rules.soa_at_question && (type == RrType::kSoa || type == RrType::kNs)) {
        own_apex(*view, type, owner);
        return true;
      }
      if (name) {
        if (const auto set = name->rrset(type)) {
          if (add(*set, *view, owner, Section::kAnswer)) additional(*set, *view);
          return true;
        }
        const auto alias = type == RrType::kCname ? std::nullopt : name->rrset(RrType::kCname);
        if (alias) {
          if (aliases == kMaxAliases || std::find(seen_.begin(), seen_.begin() + aliases, name) != seen_.begin() + aliases) return loop();
          seen_[aliases] = name;
          const NextName next = follow(*alias, *view, owner);
          if (next == NextName::kDone) return true;
          if (next == NextName::kUnknown) return refuse(Rcode::kServFail);
          view = next_view_;
          relative = next_relative_;
          owner = next_owner_;
          continue;
        }
      }
      if (aliases == 0) {
        if (rules_.refuse_below && !name && !relative.empty()) return refuse(Rcode::kRefused);
        if (type == RrType::kSrv && rules_.srv_never_nxdomain) return true;
        if (!exists(name, relative)) result_.rcode = Rcode::kNxDomain;
      }
      authority_soa(view_.soa.negative_ttl);
      return true;
    }
  }

  /// The answer is the first alias alone, so that whoever looks sees where the loop is.
  bool loop() {
    out_.cut(first_alias_end_, Section::kAnswer, 1);
    result_.rcode = Rcode::kServFail;
    return true;
  }

  enum class NextName { kFollow, kDone, kUnknown };

  /// Writes an alias and finds where it leads.
  NextName follow(const RrSet& alias, const ZoneView& view, uint16_t owner) {
    NameBuffer& target = targets_[alias_count_++ % targets_.size()];
    if (!absolute_name(alias.rdata(0), 0, view.apex, target)) return NextName::kUnknown;
    const uint32_t ttl = alias.ttl() ? alias.ttl() : view.ttl;
    if (!out_.record_with_name(Section::kAnswer, owner, RrType::kCname, ttl, {}, target.wire(), next_owner_)) {
      result_.truncated = true;
      return NextName::kDone;
    }
    if (first_alias_end_ == 0) first_alias_end_ = out_.size();
    fold({target.octets.data(), target.size});
    if (next_owner_ >= kHeader + query_.name_size) out_.know(target.wire(), next_owner_);
    const Route route = routes_.find(target.wire());
    if (!route.zone) {
      result_.outside = true;
      if (const auto name = DnsName::from_wire({target.octets.data(), target.size})) result_.target = *name;
      return NextName::kDone;
    }
    if (!route.zone->table->loaded()) return NextName::kUnknown;
    next_view_ = route.zone;
    next_relative_ = target.wire().substr(0, target.size - route.zone->apex.wire().size());
    return NextName::kFollow;
  }

  /// `owner`: where the view's apex is in the message.
  void own_apex(const ZoneView& view, RrType type, uint16_t owner) {
    if (type == RrType::kSoa) {
      if (!out_.soa(Section::kAnswer, owner, owner, view.soa.ttl, view, view.table->serial())) result_.truncated = true;
      return;
    }
    if (!add_name_servers(Section::kAnswer, view, owner)) return;
    for (const DnsName& server : view.name_servers) add_addresses_of(server.folded().wire());
  }

  bool add_name_servers(Section section, const ZoneView& view, uint16_t owner) {
    uint16_t unused;
    for (const DnsName& server : view.name_servers)
      if (!out_.record_with_name(section, owner, RrType::kNs, view.ns_ttl, {}, server.wire(), unused)) {
        result_.truncated = true;
        return false;
      }
    return true;
  }
  void name_servers(Section section) { add_name_servers(section, view_, kQuestionName); }

  /// RFC 2308: in the authority section of an answer that says "not there". Needed, so TC is set when it does not fit.
  void authority_soa(uint32_t ttl) {
    const uint16_t owner = rules_.soa_at_question ? kQuestionName : apex_at_;
    if (!out_.soa(Section::kAuthority, owner, apex_at_, ttl, view_, view_.table->serial())) result_.truncated = true;
  }

  bool any(std::string_view relative) {
    const ZoneName* name = view_.table->find(relative);
    const bool apex = relative.empty() && !rules_.soa_at_question;
    if (rules_.refuse_below && !name && !apex) return refuse(Rcode::kRefused);
    bool more = true, complete = true;
    const bool minimal = udp_ && rules_.minimal_any;
    if (name) {
      name->for_each([&](RrSet set) {
        if (more && !(more = add(set, view_, kQuestionName, Section::kAnswer))) complete = false;
        if (minimal) more = false;
      });
    }
    if (!complete) return true;
    if (apex && more) {
      own_apex(view_, RrType::kSoa, kQuestionName);
      if (!minimal && !result_.truncated) add_name_servers(Section::kAnswer, view_, kQuestionName);
    }
    const bool empty = out_.count(Section::kAnswer) == 0;
    if (rules_.soa_at_question) {
      authority_soa(view_.soa.ttl);
      name_servers(Section::kAuthority);
    }
    if (empty) {
      if (!exists(name, relative)) result_.rcode = Rcode::kNxDomain;
      authority_soa(view_.soa.negative_ttl);
    } else if (name) {
      if (const auto srv = name->rrset(RrType::kSrv)) additional(*srv, view_);
    }
    return true;
  }

  /// False: not everything did fit; in the answer section that is a truncated answer.
  bool add(const RrSet& set, const ZoneView& view, uint16_t owner, Section section) {
    const RrType type = set.type();
    const uint32_t ttl = set.ttl() ? set.ttl() : view.ttl;
    const size_t n = set.count();
    const Order order(n, type, rules_.rotation, query_.id, random_);
    const auto offset = name_offset(type);
    size_t fixed = 0;
    const uint8_t* data = set.fixed_data(fixed);
    for (size_t i = 0; i < n; ++i) {
      const std::string_view rdata =
          data ? std::string_view(reinterpret_cast<const char*>(data) + order[i] * fixed, fixed) : set.rdata(order[i]);
      if (offset ? with_name(type, rdata, *offset, ttl, view, owner, section) : out_.record(section, owner, type, ttl, rdata)) continue;
      if (section == Section::kAnswer) result_.truncated = true;
      return false;
    }
    return true;
  }

  bool with_name(RrType type, std::string_view rdata, size_t offset, uint32_t ttl, const ZoneView& view, uint16_t owner, Section section) {
    NameBuffer target;
    if (!absolute_name(rdata, offset, view.apex, target)) return true;  // B5: left out
    std::array<char, 6> front;
    std::memcpy(front.data(), rdata.data(), offset);
    if (type == RrType::kSrv && view.srv_override) {
      const auto [priority, weight] = *view.srv_override;
      front = {static_cast<char>(priority >> 8), static_cast<char>(priority), static_cast<char>(weight >> 8), static_cast<char>(weight),
               rdata[4], rdata[5]};
    }
    uint16_t name_at = 0;
    if (!out_.record_with_name(section, owner, type, ttl, {front.data(), offset}, target.wire(), name_at)) return false;
    if (type == RrType::kSrv && place_count_ < kMaxTargets) places_[place_count_++] = name_at;
    return true;
  }

  /// Addresses of the set's targets, as far as they fit; what is left out is no loss (RFC 2181 9).
  void additional(const RrSet& set, const ZoneView& view) {
    if (set.type() == RrType::kSrv) return srv_additional();
    if (set.type() != RrType::kNs && set.type() != RrType::kMx) return;
    for (size_t i = 0; i < set.count() && !full_; ++i) {
      NameBuffer target;
      if (!absolute_name(set.rdata(i), *name_offset(set.type()), view.apex, target)) continue;
      fold({target.octets.data(), target.size});
      add_addresses_of(target.wire());
    }
  }

  /// The targets stand in the answer uncompressed, so their addresses' owners point there. Each target once.
  void srv_additional() {
    if (!rules_.srv_additional) return;
    std::array<const ZoneName*, kMaxTargets> done;
    size_t count = 0;
    for (size_t i = 0; i < place_count_ && !full_; ++i) {
      NameBuffer target;
      const std::string_view rest = out_.written(places_[i]);
      target.size = 1;
      while (rest[target.size - 1] != 0) target.size += static_cast<uint8_t>(rest[target.size - 1]) + size_t{1};
      std::memcpy(target.octets.data(), rest.data(), target.size);
      fold({target.octets.data(), target.size});
      const ZoneView* view = nullptr;
      const ZoneName* name = find_anywhere(target.wire(), view);
      if (!name || std::find(done.begin(), done.begin() + count, name) != done.begin() + count) continue;
      done[count++] = name;
      add_addresses(*name, *view, target.wire(), places_[i]);
    }
  }

  const ZoneName* find_anywhere(std::string_view name, const ZoneView*& view) const {
    view = routes_.find(name).zone;
    if (!view || !view->table->loaded()) return nullptr;
    return view->table->find(name.substr(0, name.size() - view->apex.wire().size()));
  }

  void add_addresses_of(std::string_view target) {
    const ZoneView* view = nullptr;
    if (const ZoneName* name = find_anywhere(target, view)) add_addresses(*name, *view, target, kUnplaced);
  }

  /// `place`: where `owner` is in the message.
  void add_addresses(const ZoneName& name, const ZoneView& view, std::string_view owner, uint16_t place) {
    for (const RrType type : {RrType::kA, RrType::kAaaa}) {
      const auto set = name.rrset(type);
      if (!set) continue;
      const uint32_t ttl = set->ttl() ? set->ttl() : view.ttl;
      const Order order(set->count(), type, rules_.rotation, query_.id, random_);
      for (size_t i = 0; i < set->count() && !full_; ++i) {
        const std::string_view rdata = set->rdata(order[i]);
        full_ = place < kUnplaced ? !out_.record(Section::kAdditional, place, type, ttl, rdata)
                                  : !out_.record_named(Section::kAdditional, owner, type, ttl, rdata);
      }
    }
  }

  const Query& query_;
  const ZoneView& view_;
  const Routes& routes_;
  const AnswerRules& rules_;
  MessageWriter out_;
  const uint16_t apex_at_;
  uint64_t random_;
  const bool udp_;
  Answer result_;
  bool full_ = false;  ///< no more room in the additional section
  size_t first_alias_end_ = 0, alias_count_ = 0, place_count_ = 0;
  std::array<uint16_t, kMaxTargets> places_;  ///< of the targets of SRV records in the answer
  std::array<const ZoneName*, kMaxAliases> seen_;
  std::array<NameBuffer, kMaxAliases + 1> targets_;
  const ZoneView* next_view_ = nullptr;
  std::string_view next_relative_;
  uint16_t next_owner_ = 0;
};

size_t opt_size(const Query& query, const AnswerLimits& limits) {
  if (!query.edns) return 0;
  return kOptSize + (limits.cookie.empty() ? 0 : kOptionHead + limits.cookie.size());
}

}  // namespace

size_t size_limit(const Query& query, const AnswerLimits& limits) {
  if (limits.tcp) return 65535;
  if (!query.edns) return 512;
  return std::max<size_t>(512, std::min(query.edns->udp_size, limits.udp_max));
}

size_t plain_answer(const Query& query, Rcode rcode, bool question, const AnswerLimits& limits, std::span<uint8_t> out,
                    uint16_t extra_flags) {
  if (out.size() < query.question_end + opt_size(query, limits)) return 0;
  MessageWriter writer(query, out, out.size(), question);
  return writer.finish(rcode, extra_flags, limits.udp_max, limits.cookie);
}

Answer answer_from_zone(const Query& query, const ZoneView& view, const Routes& routes, const AnswerLimits& limits,
                        std::span<uint8_t> out) {
  const auto type = static_cast<RrType>(query.type);
  Answer plain;
  plain.zone = &view;
  const auto refuse = [&](Rcode rcode) {
    plain.rcode = rcode;
    plain.size = plain_answer(query, rcode, true, limits, out);
    return plain;
  };
  if (out.size() < query.question_end + opt_size(query, limits)) return plain;
  if (!view.table->loaded()) return refuse(Rcode::kServFail);
  if (type == RrType::kRrsig && view.rules.refuse_rrsig) return refuse(Rcode::kRefused);

  std::string_view relative = query.folded().substr(0, query.name_size - view.apex.wire().size());
  NameBuffer stripped;
  if (view.rules.strip_star_labels && relative.find('*') != std::string_view::npos && strip_stars(relative, stripped))
    relative = stripped.wire();

  const size_t limit = std::min(size_limit(query, limits), out.size()) - opt_size(query, limits);
  Composer composer(query, view, routes, limits, out, limit);
  if (!composer.compose(relative, type)) return refuse(composer.result().rcode);
  Answer answer = composer.result();
  uint16_t flags = kAa;
  if (view.rules.recursion_available) flags |= kRa;
  if (answer.truncated && limits.truncate_bit) flags |= kTc;
  answer.size = composer.out().finish(answer.rcode, flags, limits.udp_max, limits.cookie);
  return answer;
}

}  // namespace ls::dns
