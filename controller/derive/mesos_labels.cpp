// Labels of the Mesos domain: spec/mesos-dns.md 7.1-7.4.
#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <memory>

#include "derive/dcos_zone.h"
#include "derive/mesos_zone.h"

namespace ls {
namespace {

constexpr std::string_view kZbase32 = "ybndrfg8ejkmcpqxot1uwisza345h769";
/// The cluster's key is spelled with an l where task hashes have a 1 (spec/cases/dns/zbase32-key.json, k15; mesos-dns.md 9, 8).
constexpr std::string_view kKeyAlphabet = "ybndrfg8ejkmcpqxotluwisza345h769";

/// Fetching the algorithm costs more than using it, so each thread does that once.
struct Sha1 {
  std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)> algorithm{EVP_MD_fetch(nullptr, "SHA1", nullptr), EVP_MD_free};
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context{EVP_MD_CTX_new(), EVP_MD_CTX_free};

  std::array<uint8_t, EVP_MAX_MD_SIZE> operator()(std::string_view text) {
    std::array<uint8_t, EVP_MAX_MD_SIZE> out{};
    // Only a machine without memory, or a library built without SHA-1, gets here; names would be wrong from then on.
    if (!algorithm || !context || EVP_DigestInit_ex2(context.get(), algorithm.get(), nullptr) != 1 ||
        EVP_DigestUpdate(context.get(), text.data(), text.size()) != 1 ||
        EVP_DigestFinal_ex(context.get(), out.data(), nullptr) != 1)
      std::abort();
    return out;
  }
};

}  // namespace

std::string mesos_label(std::string_view text, bool rfc952) {
  const size_t max = rfc952 ? 24 : 63;
  std::string s;
  s.reserve(text.size());
  for (char c : text) {
    if (c >= 'A' && c <= 'Z') {
      c = char(c | 0x20);
    } else if (c == '.' || c == '_') {
      c = '-';
    } else if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-')) {
      continue;  // each octet of a character outside ASCII is one of these
    }
    if (s.empty() && (c == '-' || (rfc952 && c >= '0' && c <= '9'))) continue;
    s += c;
  }
  const size_t n = std::min(s.size(), max);
  size_t head = n;
  while (head > 0 && s[head - 1] == '-') head--;
  if (head == n) {
    s.resize(n);
    return s;
  }
  size_t tail = n;
  while (tail < s.size() && s[tail] == '-') tail++;
  const size_t more = std::min(n - head, s.size() - tail);
  s.replace(head, std::string::npos, s.substr(tail, more));
  return s;
}

std::string mesos_domain_fragment(std::string_view text, bool rfc952) {
  std::string out;
  while (true) {
    const size_t dot = text.find('.');
    const std::string label = mesos_label(text.substr(0, dot), rfc952);
    if (!label.empty()) {
      if (!out.empty()) out += '.';
      out += label;
    }
    if (dot == text.npos) return out;
    text.remove_prefix(dot + 1);
  }
}

std::string task_hash(std::string_view task_id) {
  thread_local Sha1 sha1;
  const auto digest = sha1(task_id);
  const uint32_t bits = uint32_t(digest[0]) << 24 | uint32_t(digest[1]) << 16 | uint32_t(digest[2]) << 8 | digest[3];
  std::string out(5, '\0');
  for (int i = 0; i < 5; i++) out[size_t(i)] = kZbase32[bits >> (27 - 5 * i) & 31];
  return out;
}

std::string agent_suffix(std::string_view agent_id) {
  const size_t hyphen = agent_id.rfind('-');
  std::string out(hyphen == agent_id.npos ? agent_id : agent_id.substr(hyphen + 1));
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = char(c | 0x20);
  return out;
}

std::string zbase32(std::span<const uint8_t> bytes) {
  std::string out;
  out.reserve((bytes.size() * 8 + 4) / 5);
  uint32_t held = 0;
  int count = 0;
  for (uint8_t byte : bytes) {
    held = held << 8 | byte;
    count += 8;
    while (count >= 5) {
      count -= 5;
      out += kKeyAlphabet[held >> count & 31];
    }
  }
  if (count > 0) out += kKeyAlphabet[held << (5 - count) & 31];
  return out;
}

std::optional<std::vector<uint8_t>> zbase32_decode(std::string_view text) {
  // What is left over below an octet is the encoder's fill: fewer than five bits, all zero.
  if (text.size() * 5 % 8 >= 5) return std::nullopt;
  std::vector<uint8_t> out;
  out.reserve(text.size() * 5 / 8);
  uint32_t held = 0;
  int count = 0;
  for (char c : text) {
    const size_t value = kKeyAlphabet.find(c == '1' ? 'l' : c);
    if (value == kKeyAlphabet.npos) return std::nullopt;
    held = (held << 5 | uint32_t(value)) & 0xffff;
    count += 5;
    if (count < 8) continue;
    count -= 8;
    out.push_back(uint8_t(held >> count));
  }
  if (held & ((1u << count) - 1)) return std::nullopt;
  return out;
}

}  // namespace ls
