#include "question.h"

#include <arpa/inet.h>

#include <cstring>
#include <numeric>

namespace dk {
namespace {

constexpr uint16_t kA = 1, kSrvType = 33, kOpt = 41, kCookie = 10;

void put16(std::vector<uint8_t>& out, uint32_t v) {
  out.push_back(uint8_t(v >> 8));
  out.push_back(uint8_t(v));
}
void put(std::vector<uint8_t>& out, std::string_view text) { out.insert(out.end(), text.begin(), text.end()); }

std::string key(const char* prefix, uint32_t number) { return "\x0b" + (prefix + letters(number)) + "\x08marathon"; }

uint32_t at16(std::span<const uint8_t> b, size_t at) { return at + 2 <= b.size() ? uint32_t(b[at] << 8 | b[at + 1]) : 0x10000; }

/// Words as they are in memory.
uint64_t sum_of(const uint8_t* from, size_t octets) {
  uint64_t sum = 0;
  for (size_t i = 0; i < octets; i += 2) {
    uint16_t word = 0;
    std::memcpy(&word, from + i, std::min<size_t>(2, octets - i));
    sum += word;
  }
  return sum;
}

}  // namespace

const char* to_text(Kind kind) {
  switch (kind) {
    case Kind::kA: return "A";
    case Kind::kAEdns: return "A, EDNS";
    case Kind::kACookie: return "A, EDNS, cookie";
    case Kind::kSrv: return "SRV, address";
    case Kind::kMissing: return "NXDOMAIN";
  }
  return "";
}

std::string letters(uint32_t number) {
  std::string out(DK_LETTERS, 'a');
  for (int i = DK_LETTERS - 1; i >= 0; i--, number >>= 4) out[size_t(i)] = char('a' + (number & 15));
  return out;
}
std::string host_key(uint32_t number) { return key("task-", number); }
std::string service_key(uint32_t number) { return key("_srv-", number); }

uint32_t step_of(uint32_t names) {
  uint32_t step = std::max(1u, uint32_t(names * 0.6180339887));
  while (std::gcd(step, names) != 1) step++;
  return names == 1 ? 0 : step;
}

dk_question question(Kind kind, const Ends& ends) {
  std::vector<uint8_t> dns;
  bool opt = kind == Kind::kAEdns || kind == Kind::kACookie;
  put16(dns, 0);
  put16(dns, 0x0100);
  put16(dns, 1);
  put16(dns, 0);
  put16(dns, 0);
  put16(dns, opt);
  put(dns, kind == Kind::kSrv ? service_key(0) : kind == Kind::kMissing ? key("none-", 0) : host_key(0));
  put(dns, std::string_view("\x05mesos\0", 7));
  put16(dns, kind == Kind::kSrv ? kSrvType : kA);
  put16(dns, 1);
  if (opt) {
    dns.push_back(0);
    put16(dns, kOpt);
    put16(dns, 1232);
    put16(dns, 0);
    put16(dns, 0);
    put16(dns, kind == Kind::kACookie ? 12 : 0);
    if (kind == Kind::kACookie) {
      put16(dns, kCookie);
      put16(dns, 8);
      put(dns, "cookieDK");
    }
  }
  const size_t udp_octets = 8 + dns.size();
  std::vector<uint8_t> f;
  f.insert(f.end(), ends.to_mac, ends.to_mac + 6);
  f.insert(f.end(), ends.from_mac, ends.from_mac + 6);
  put16(f, 0x0800);
  put16(f, 0x4500);
  put16(f, uint32_t(20 + udp_octets));
  put16(f, 0);
  put16(f, 0x4000);
  put16(f, 64 << 8 | 17);
  put16(f, 0);
  for (uint32_t a : {ends.from_be, ends.to_be}) f.insert(f.end(), reinterpret_cast<uint8_t*>(&a), reinterpret_cast<uint8_t*>(&a) + 4);
  uint16_t check = dk_fold(sum_of(f.data() + 14, 20));
  std::memcpy(f.data() + 24, &check, 2);
  put16(f, 0);
  put16(f, ntohs(ends.port_be));
  put16(f, uint32_t(udp_octets));
  put16(f, 0);
  f.insert(f.end(), dns.begin(), dns.end());
  dk_question q{};
  q.octets = uint32_t(f.size());
  q.sum = dk_fold(~uint64_t{0} & (sum_of(f.data() + 26, f.size() - 26) + htons(17) + htons(uint16_t(udp_octets))));
  q.sum = uint16_t(~q.sum);
  std::memcpy(q.frame, f.data(), std::min(f.size(), sizeof q.frame));
  return q;
}

std::string wrong_in_answer(Kind kind, uint32_t number, std::span<const uint8_t> frame) {
  if (frame.size() < DK_NAME_AT + DK_NAME_OCTETS + 4) return "too short";
  auto ip = frame.subspan(14, 20), udp = frame.subspan(34), dns = frame.subspan(42);
  if (dk_fold(sum_of(ip.data(), 20)) != 0) return "checksum of the IP header";
  if (at16(ip, 2) != frame.size() - 14 || at16(udp, 4) != frame.size() - 34) return "lengths";
  if (at16(udp, 6) != 0) {
    uint64_t sum = sum_of(frame.data() + 26, frame.size() - 26) + htons(17) + htons(uint16_t(at16(udp, 4)));
    if (dk_fold(sum) != 0) return "checksum of UDP";
  }
  const bool missing = kind == Kind::kMissing, opt = kind == Kind::kAEdns || kind == Kind::kACookie;
  if ((at16(dns, 2) & 0xfa0f) != (missing ? 0x8003 : 0x8000) || !(at16(dns, 2) & 0x0400)) return "flags " + std::to_string(at16(dns, 2));
  const uint32_t answers = missing ? 0 : 1, authority = missing ? 1 : 0, more = (opt ? 1 : 0) + (kind == Kind::kSrv ? 1 : 0);
  if (at16(dns, 6) != answers || at16(dns, 8) != authority || at16(dns, 10) != more) return "counts";
  if (std::memcmp(frame.data() + DK_LETTERS_AT, letters(number).data(), DK_LETTERS) != 0) return "name";
  uint32_t address = htonl(DK_FIRST_ADDRESS + number);
  const size_t record = DK_NAME_AT + DK_NAME_OCTETS + 4;
  if (missing) return "";
  const uint8_t* at = frame.data() + record + 12;
  if (kind == Kind::kSrv) at = frame.data() + frame.size() - 4;  // the additional record's
  if (record + 16 > frame.size() || std::memcmp(at, &address, 4) != 0) return "address";
  return "";
}

}  // namespace dk
