#include "dns/kernel_cached.h"

#include "dns/response.h"
#include "loadstar/abi/dns.h"

namespace ls::dns {
namespace {

KernelKey store_key(std::string_view key) {
  const auto* octets = reinterpret_cast<const uint8_t*>(key.data());
  return {LS_DNS_SPACE_CACHE, get16(octets), key.substr(2)};
}

/// The question of a message, as a key; empty: there is none.
std::string key_of(std::span<const uint8_t> message) {
  std::string key;
  std::array<uint8_t, DnsName::kMaxWire> name;
  size_t end = 0, size = 0;
  if (message.size() < kHeader || get16(message.data() + 4) != 1) return key;
  if (!read_name(message, kHeader, end, nullptr, name.data(), &size) || message.size() - end < 4) return key;
  key.append(reinterpret_cast<const char*>(message.data()) + end, 2);
  key.append(reinterpret_cast<const char*>(name.data()), size);
  return key;
}

bool is_within(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  size_t at = 0;
  while (at < name.size() - suffix.size()) at += static_cast<uint8_t>(name[at]) + size_t{1};
  return at == name.size() - suffix.size();
}

}  // namespace

void KernelCached::put(std::span<const uint8_t> message, uint64_t stored_ns, uint64_t expires_ns) {
  const std::string key = key_of(message);
  if (key.empty()) return;
  if (!kernel_cached(message, stored_ns, expires_ns, body_)) return remove(key);
  if (entries_.size() >= max_ && !entries_.contains(key)) make_room(1);
  if (!store_.put(store_key(key), 0, 0, body_.octets)) {
    store_.remove(store_key(key));
    return remove(key);
  }
  const auto [at, fresh] = entries_.try_emplace(key, expires_ns);
  if (!fresh) by_end_.erase({at->second, at->first});
  at->second = expires_ns;
  by_end_.emplace(expires_ns, at->first);
}

void KernelCached::remove(std::string_view key) {
  const auto at = entries_.find(std::string(key));
  if (at == entries_.end()) return;
  store_.remove(store_key(at->first));
  by_end_.erase({at->second, at->first});
  entries_.erase(at);
}

size_t KernelCached::flush(const DnsName& suffix) {
  const DnsName folded = suffix.folded();
  size_t gone = 0;
  for (auto at = entries_.begin(); at != entries_.end();) {
    const std::string_view key = at->first;
    ++at;  // what is removed is behind
    if (!is_within(key.substr(2), folded.wire())) continue;
    remove(key);
    ++gone;
  }
  return gone;
}

void KernelCached::expire(uint64_t now_ns) {
  while (!by_end_.empty() && by_end_.begin()->first <= now_ns) remove(by_end_.begin()->second);
}

void KernelCached::make_room(size_t n) {
  for (; n > 0 && !by_end_.empty(); --n) remove(by_end_.begin()->second);
}

}  // namespace ls::dns
