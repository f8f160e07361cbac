#pragma once
/// A KernelStore in memory, and a reader that answers out of it by the rules of include/loadstar/abi/dns.h alone.
#include <arpa/inet.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <optional>
#include <random>
#include <set>
#include <string>
#include <tuple>
#include <vector>

#include "dns/answer.h"
#include "dns/kernel_store.h"
#include "dns/response.h"
#include "loadstar/abi/dns.h"

namespace ls::dns::test {

class FakeStore : public KernelStore {
 public:
  using Key = std::tuple<uint32_t, uint16_t, std::string>;
  struct Entry {
    uint8_t flags = 0, sets = 0;
    std::vector<uint8_t> body;
    uint32_t round = 0;
    bool operator==(const Entry& o) const { return flags == o.flags && sets == o.sets && body == o.body; }
  };
  std::map<Key, Entry> entries;
  std::map<uint64_t, Key> by_hash;
  std::function<void()> after;         ///< every single change
  std::function<bool(const KernelKey&)> refuse;  ///< no room
  size_t puts = 0, changes = 0, removes = 0;

  bool put(const KernelKey& k, uint8_t flags, uint8_t sets, std::span<const uint8_t> body) override {
    ++puts;
    EXPECT_LE(k.key.size(), size_t{LS_DNS_KEY_MAX});
    EXPECT_LE(LS_DNS_BODY(k.key.size()) + body.size(), size_t{LS_DNS_ENTRY_MAX});
    const Key key = key_of(k);
    Entry fresh{flags, sets, {body.begin(), body.end()}, round_};
    const auto at = entries.find(key);
    if (at != entries.end() && at->second == fresh) {
      at->second.round = round_;
      return true;
    }
    if (refuse && refuse(k)) return false;
    ++changes;
    by_hash[hash(k)] = key;
    entries[key] = std::move(fresh);
    if (after) after();
    return true;
  }
  bool remove(const KernelKey& k) override {
    if (entries.erase(key_of(k)) == 0) return false;
    ++removes;
    by_hash.erase(hash(k));
    if (after) after();
    return true;
  }
  bool contains(const KernelKey& k) const override { return entries.contains(key_of(k)); }
  uint64_t hash(const KernelKey& k) const override {
    const __u64 secret[2] = {0x1234567890abcdefull, 0xfedcba9876543211ull};
    uint64_t h = ls_dns_hash_begin(secret, k.space, k.aux);
    for (size_t i = 0; i < k.key.size(); i += 8) {
      __u64 word = 0;
      std::memcpy(&word, k.key.data() + i, std::min<size_t>(8, k.key.size() - i));
      h = ls_dns_hash_word(h, word, secret[1]);
    }
    return ls_dns_hash_end(h, static_cast<uint32_t>(k.key.size()), secret[1]);
  }
  size_t sweep(uint32_t space) override {
    return sweep_if([space](const Key& k) { return std::get<0>(k) == space; });
  }
  size_t sweep_all() override {
    return sweep_if([](const Key&) { return true; });
  }
  void mark() override { ++round_; }

  const Entry* find(uint32_t space, uint16_t aux, std::string_view key) const {
    const auto at = entries.find({space, aux, std::string(key)});
    return at == entries.end() ? nullptr : &at->second;
  }

 private:
  static Key key_of(const KernelKey& k) { return {k.space, k.aux, std::string(k.key)}; }
  template <class Match>
  size_t sweep_if(Match match) {
    std::vector<Key> gone;
    for (const auto& [key, entry] : entries)
      if (entry.round != round_ && match(key)) gone.push_back(key);
    for (const auto& [space, aux, key] : gone) remove({space, aux, key});
    return gone.size();
  }
  uint32_t round_ = 1;
};

/// What the kernel says; nothing: the process answers.
class KernelReader {
 public:
  explicit KernelReader(const FakeStore& store) : store_(store) {}

  std::optional<std::vector<uint8_t>> ask(size_t service, const std::array<uint64_t, 4>& suffixes, const std::string& name, uint16_t type) {
    name_ = name;
    type_ = type;
    question(0);
    ls_dns_view v{};
    size_t at = 0;
    for (;; at += static_cast<uint8_t>(name[at]) + size_t{1}) {
      const size_t octets = name.size() - at;
      if (suffixes[octets / 64] >> octets % 64 & 1) {
        if (const auto* e = store_.find(LS_DNS_SPACE_VIEW + static_cast<uint32_t>(service), 0, name.substr(at))) {
          std::memcpy(&v, e->body.data(), sizeof v);
          break;
        }
      }
      if (name[at] == 0) return std::nullopt;
    }
    view_ = v;
    apex_ = at;
    if (has(LS_DNS_VIEW_UP)) return std::nullopt;
    if (has(LS_DNS_VIEW_FORWARD)) return has(LS_DNS_VIEW_UNCACHED) ? std::nullopt : ready(LS_DNS_SPACE_CACHE, name);
    return zone(name.substr(0, at));
  }

 private:
  using Out = std::optional<std::vector<uint8_t>>;
  static constexpr uint16_t kSrv = 33, kSoa = 6, kNs = 2, kRrsig = 46;
  bool has(uint32_t flag) const { return view_.flags & flag; }

  void question(uint16_t flags) {
    out_.assign(12, 0);
    put16(out_.data() + 2, static_cast<uint16_t>(kQr | flags));
    out_[5] = 1;
    append(name_);
    add16(type_);
    add16(1);
  }
  void append(std::string_view octets) { out_.insert(out_.end(), octets.begin(), octets.end()); }
  void add16(unsigned v) {
    out_.push_back(static_cast<uint8_t>(v >> 8));
    out_.push_back(static_cast<uint8_t>(v));
  }
  void add32(uint32_t v) {
    add16(v >> 16);
    add16(v & 0xffff);
  }
  void record(int section, size_t owner, uint16_t type, uint32_t ttl, std::string_view rdata) {
    add16(static_cast<unsigned>(0xc000 | owner));
    add16(type);
    add16(1);
    add32(ttl);
    add16(static_cast<unsigned>(rdata.size()));
    append(rdata);
    ++out_[static_cast<size_t>(7 + 2 * section)];
  }
  Out done(unsigned rcode, bool aa = true) {
    const unsigned flags = kQr | (aa ? unsigned{kAa} | (has(LS_DNS_VIEW_RA) ? unsigned{kRa} : 0) : 0) | rcode;
    put16(out_.data() + 2, static_cast<uint16_t>(flags));
    if (out_.size() > LS_DNS_MESSAGE_MAX) return std::nullopt;
    return out_;
  }
  void soa(int section, uint32_t ttl) {
    std::string data(reinterpret_cast<const char*>(view_.soa), view_.soa_octets);
    for (const uint16_t p : view_.soa_pointer)
      if (p != 0xffff) put16(reinterpret_cast<uint8_t*>(data.data()) + p, static_cast<uint16_t>(0xc000 | (12 + apex_)));
    record(section, has(LS_DNS_VIEW_SOA_AT_QUESTION) || section == 0 ? 12 : 12 + apex_, kSoa, ttl, data);
  }
  Out negative(unsigned rcode) {
    soa(1, view_.soa_negative_ttl);
    return done(rcode);
  }
  Out ready(uint32_t space, std::string_view key) {
    const auto* e = store_.find(space, type_, key);
    if (!e) return std::nullopt;
    ls_dns_ready r;
    std::memcpy(&r, e->body.data(), sizeof r);
    put16(out_.data() + 2, static_cast<uint16_t>(kQr | ntohs(r.flags_be)));
    std::memcpy(out_.data() + 6, r.counts_be, 6);
    EXPECT_EQ(e->body.size(), sizeof r + r.body_octets);
    if (r.rotate_count > 1) {
      EXPECT_LE(r.rotate_at + (r.rotate_count - 1) * r.rotate_stride + r.rotate_octets, r.body_octets);
    }
    out_.insert(out_.end(), e->body.begin() + sizeof r, e->body.end());
    return out_;
  }

  Out zone(const std::string& front) {
    const bool apex = front.empty(), at_question = has(LS_DNS_VIEW_SOA_AT_QUESTION), complete = has(LS_DNS_VIEW_COMPLETE);
    if (front.find('*') != std::string::npos) return std::nullopt;
    if (type_ == kRrsig && has(LS_DNS_VIEW_REFUSE_RRSIG)) return done(5, false);
    if (at_question && type_ == kNs) return std::nullopt;
    if (at_question && type_ == kSoa) {
      soa(1, view_.soa_ttl);
      return done(0);
    }
    if (apex && type_ == kSoa) {
      soa(0, view_.soa_ttl);
      return done(0);
    }
    if (apex && type_ == kNs) return ready(view_.ready, front);
    const auto* e = store_.find(view_.zone, 0, front);
    if (!e && !complete) return std::nullopt;
    if (e) {
      if (e->flags & LS_DNS_UP) return std::nullopt;
      if (const auto set = find_set(*e, type_)) return answer(*e, front, *set);
      if (e->flags & LS_DNS_PARTIAL) return ready(view_.ready, front);
    }
    if (!e && !apex && has(LS_DNS_VIEW_REFUSE_BELOW)) return done(5, false);
    if (type_ == kSrv && has(LS_DNS_VIEW_SRV_NEVER_NXDOMAIN)) return done(0);
    const bool exists = has(LS_DNS_VIEW_NXDOMAIN_AT_EMPTY) ? e && !(e->flags & LS_DNS_EMPTY) : e || apex;
    return negative(exists ? 0 : 3);
  }

  static std::optional<ls_dns_set> find_set(const FakeStore::Entry& e, uint16_t type) {
    for (size_t i = 0; i < e.sets; ++i) {
      ls_dns_set s;
      std::memcpy(&s, e.body.data() + i * sizeof s, sizeof s);
      if (s.type_be == htons(type)) return s;
    }
    return std::nullopt;
  }
  static std::string_view octets(const FakeStore::Entry& e, size_t key, size_t at, size_t size) {
    const size_t from = at - LS_DNS_BODY(key);
    EXPECT_LE(from + size, e.body.size());
    return {reinterpret_cast<const char*>(e.body.data()) + from, size};
  }
  void addresses(int section, size_t owner, const FakeStore::Entry& e, size_t key, const ls_dns_set& s) {
    const size_t size = s.form == LS_DNS_FORM_A ? 4 : 16;
    for (size_t i = 0; i < s.count; ++i) record(section, owner, ntohs(s.type_be), s.ttl ? s.ttl : view_.ttl, octets(e, key, s.at + i * size, size));
  }

  Out answer(const FakeStore::Entry& e, const std::string& front, const ls_dns_set& s) {
    if (s.form != LS_DNS_FORM_SRV) {
      addresses(0, 12, e, front.size(), s);
      return done(0);
    }
    const bool more = has(LS_DNS_VIEW_SRV_ADDITIONAL);
    if (more && (s.flags & LS_DNS_SET_OUTSIDE || has(LS_DNS_VIEW_NESTED))) return std::nullopt;
    std::map<unsigned, std::pair<uint64_t, size_t>> targets;  // by number: hash, place of the first
    for (size_t i = 0; i < s.count; ++i) {
      uint16_t at;
      ls_dns_srv r;
      std::memcpy(&at, octets(e, front.size(), s.at + 2 * i, 2).data(), 2);
      std::memcpy(&r, octets(e, front.size(), at, sizeof r).data(), sizeof r);
      std::string name(octets(e, front.size(), at + sizeof r, r.name_octets));
      if (r.flags & LS_DNS_SRV_BELOW) name += name_.substr(apex_);
      if (name.size() > 255) continue;
      std::string data(reinterpret_cast<const char*>(r.front), 6);
      if (has(LS_DNS_VIEW_SRV_OVERRIDE)) std::memcpy(data.data(), view_.srv_front_be, 4);
      record(0, 12, kSrv, s.ttl ? s.ttl : view_.ttl, data + name);
      targets.try_emplace(r.target, r.target_hash, out_.size() - name.size());
    }
    if (!more) return done(0);
    for (const auto& [number, target] : targets) {
      const auto key = store_.by_hash.find(target.first);
      const FakeStore::Entry* t = nullptr;
      size_t key_size = 0;
      if (key != store_.by_hash.end() && std::get<0>(key->second) == view_.zone) {
        t = &store_.entries.at(key->second);
        key_size = std::get<2>(key->second).size();
      }
      if (!t && !has(LS_DNS_VIEW_COMPLETE)) return std::nullopt;
      if (!t) continue;
      if (t->flags & (LS_DNS_UP | LS_DNS_PARTIAL)) return std::nullopt;
      for (const uint16_t type : {1, 28})
        if (const auto set = find_set(*t, type)) addresses(2, target.second, *t, key_size, *set);
    }
    return done(0);
  }

  const FakeStore& store_;
  std::string name_;
  uint16_t type_ = 0;
  ls_dns_view view_{};
  size_t apex_ = 0;
  std::vector<uint8_t> out_;
};

/// A message without compression, one string a record; the order of addresses and SRV records only when it counts.
inline std::string plain_form(std::span<const uint8_t> message, bool ordered) {
  Response r;
  if (!r.read(message)) return "malformed";
  std::array<uint8_t, 255> name;
  size_t end = 0, size = 0;
  const auto expanded = [&](size_t at) {
    read_name(message, at, end, nullptr, name.data(), &size);
    return std::string(reinterpret_cast<char*>(name.data()), size);
  };
  std::string out = "flags " + std::to_string(r.flags & ~(kRd | kCd)) + "\n";
  for (const Section section : {Section::kAnswer, Section::kAuthority, Section::kAdditional}) {
    std::vector<std::string> rows;
    for (const ResponseRecord& record : r.records) {
      if (record.section != section) continue;
      std::string row = expanded(record.owner) + " " + std::to_string(record.type) + " " + std::to_string(record.ttl) + " ";
      size_t at = record.rdata;
      const size_t fixed = record.type == 15 ? 2 : record.type == 33 ? 6 : 0;
      row.append(reinterpret_cast<const char*>(message.data()) + at, fixed);
      at += fixed;
      int names = record.type == 6 ? 2 : record.type == 2 || record.type == 5 || record.type == 12 || fixed ? 1 : 0;
      for (; names > 0; --names) {
        row += expanded(at);
        at = end;
      }
      row.append(reinterpret_cast<const char*>(message.data()) + at, record.end() - at);
      rows.push_back(std::move(row));
    }
    if (!ordered) std::sort(rows.begin(), rows.end());
    for (const std::string& row : rows) out += std::to_string(static_cast<int>(section)) + ": " + row + "\n";
  }
  return out;
}

}  // namespace ls::dns::test
