#include "dns_questions.h"

#include <algorithm>

namespace ls::test {
namespace {

constexpr const char* kSources[] = {"10.1.2.3", "fd00::9", "192.168.255.254", "10.9.9.9"};
constexpr uint16_t kTypes[] = {1, 1, 1, 1, 1, 1, 28, 28, 28, 28, 33, 33, 33, 33, 33, 33, 6, 2, 16, 5, 12, 15, 65, 46, 255, 0, 41, 251, 64, 127, 128, 256, 65535};

void put16(Bytes& b, size_t at, unsigned v) {
  b[at] = uint8_t(v >> 8);
  b[at + 1] = uint8_t(v);
}
void add16(Bytes& b, unsigned v) {
  b.push_back(uint8_t(v >> 8));
  b.push_back(uint8_t(v));
}

}  // namespace

std::vector<Bytes> names_of(const dns::Routes& routes, Epoch::Reader& reader, int times) {
  std::vector<Bytes> out;
  Epoch::Guard guard(reader);
  auto add = [&](std::string_view front, std::string_view apex) {
    if (front.size() + apex.size() > DnsName::kMaxWire) return;
    Bytes b(front.begin(), front.end());
    b.insert(b.end(), apex.begin(), apex.end());
    out.push_back(std::move(b));
  };
  for (auto& view : routes.views()) {
    const std::string apex(view.apex.folded().wire());
    add("", apex);
    add("\4none", apex);
    add("\1*", apex);
    view.table->for_each([&](const dns::ZoneName& name) {
      const std::string front(name.owner());
      for (int i = 0; i < times; i++) add(front, apex);
      add("\5below" + front, apex);
      add("\1*" + front, apex);
      if (!front.empty()) add("\4next" + front.substr(size_t(uint8_t(front[0])) + 1), apex);
    });
  }
  for (auto& group : routes.groups()) {
    const std::string apex(group.zone.folded().wire());
    add("", apex);
    add("\3www", apex);
  }
  add("\7nowhere", std::string("\7example\0", 9));
  return out;
}

Bytes DnsQuestions::name() {
  Bytes n = names_[below(names_.size())];
  if (one_in(3))
    for (auto& c : n)
      if (c >= 'a' && c <= 'z' && one_in(2)) c = uint8_t(c - 32);
  if (one_in(20) && n.size() < 240) {  // a label in front
    const size_t length = 1 + below(std::min<size_t>(63, 254 - n.size()));
    Bytes label(length + 1);
    label[0] = uint8_t(length);
    for (size_t i = 1; i <= length; i++) label[i] = one_in(40) ? uint8_t(random_()) : uint8_t('a' + below(26));
    n.insert(n.begin(), label.begin(), label.end());
  }
  if (one_in(30)) n[below(n.size())] = uint8_t(random_());
  return n;
}

void DnsQuestions::opt(Bytes& m) {
  m[11] = 1;
  m.push_back(0);
  add16(m, 41);
  static constexpr int kSizes[] = {512, 1232, 4096, 65535, 0, 700, 300};
  add16(m, unsigned(kSizes[below(std::size(kSizes))]));
  m.push_back(one_in(30) ? uint8_t(random_()) : 0);
  m.push_back(one_in(30) ? 1 : 0);
  add16(m, one_in(4) ? 0x8000 : one_in(30) ? unsigned(random_() & 0xffff) : 0);
  const size_t length_at = m.size();
  add16(m, 0);
  if (one_in(3)) {
    static constexpr size_t kLengths[] = {8, 24, 8, 24, 16, 40, 7, 9, 41, 0};
    const size_t n = kLengths[below(std::size(kLengths))];
    add16(m, one_in(20) ? unsigned(below(20)) : 10);
    add16(m, unsigned(n));
    for (size_t i = 0; i < n; i++) m.push_back(i == 8 ? 1 : i > 8 && i < 12 ? 0 : uint8_t(random_()));
  }
  if (one_in(20))
    for (int o : {0, 3, 0, 0}) m.push_back(uint8_t(o));
  put16(m, length_at, unsigned(m.size() - length_at - 2));
}

/// One change to octets from `from` on.
void DnsQuestions::damage(Bytes& b, size_t from) {
  if (b.size() <= from) return;
  const size_t at = from + below(b.size() - from);
  switch (below(6)) {
    case 0: b[at] ^= uint8_t(1 << below(8)); break;
    case 1: b[at] = uint8_t(random_()); break;
    case 2: b.resize(at); break;
    case 3: b.insert(b.begin() + long(at), 1 + below(4), uint8_t(random_())); break;
    case 4: b.erase(b.begin() + long(at)); break;
    default:
      static constexpr uint8_t kEdges[] = {0, 1, 63, 64, 0xc0, 0xff, 0x7f, 0x80, '*'};
      b[at] = kEdges[below(std::size(kEdges))];
  }
}

const DnsQuestions::One& DnsQuestions::next() {
  Bytes& m = message_;
  m.assign(12, 0);
  put16(m, 0, unsigned(random_() & 0xffff));
  put16(m, 2, one_in(2) ? 0x0100 : one_in(3) ? 0x0120 : one_in(8) ? 0x0110 : 0);
  m[5] = 1;
  const Bytes n = name();
  m.insert(m.end(), n.begin(), n.end());
  add16(m, one_in(20) ? unsigned(random_() & 0xffff) : kTypes[below(std::size(kTypes))]);
  add16(m, one_in(40) ? 255 : one_in(40) ? 3 : 1);
  if (one_in(2)) opt(m);
  if (one_in(4)) {
    damage(m, 0);
    while (one_in(3)) damage(m, 0);
  } else if (one_in(10)) {
    put16(m, 2 * below(6), one_in(2) ? unsigned(below(4)) : unsigned(random_() & 0xffff));  // header
  }
  DnsFrame how;
  how.src = one_.src = kSources[below(std::size(kSources))];
  if (how.src[0] == 'f') how.dst = "fd00::53";
  how.sport = one_in(50) ? uint16_t(below(3)) : uint16_t(1024 + below(60000));
  how.udp_checksum = !one_in(10);
  one_.frame = how.around(m);
  one_.damaged = false;
  if (one_in(12)) {  // padding
    one_.frame.resize(one_.frame.size() + 1 + below(50), uint8_t(random_()));
  }
  if (one_in(8)) {
    one_.damaged = true;
    const size_t end = std::min<size_t>(one_.frame.size(), how.src[0] == 'f' ? 62 : 42);
    do {
      const size_t at = 12 + below(end - 12);
      if (one_in(2))
        one_.frame[at] ^= uint8_t(1 << below(8));
      else
        one_.frame[at] = uint8_t(random_());
    } while (one_in(4));
    if (one_in(4) && one_.frame.size() > 20) one_.frame.resize(20 + below(one_.frame.size() - 20));
    // Half of the damaged IPv4 headers get a right checksum: so what they say is looked at.
    if (how.src[0] != 'f' && one_in(2) && one_.frame.size() >= 34) {
      one_.frame[24] = one_.frame[25] = 0;
      const uint16_t sum = checksum(&one_.frame[14], 20);
      put16(one_.frame, 24, sum);
    }
  }
  return one_;
}

}  // namespace ls::test
