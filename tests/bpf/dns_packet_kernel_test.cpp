// What becomes of packets: which are questions to us, how an answer's headers look, and that everything else goes up as it was.
#include <arpa/inet.h>

#include <algorithm>
#include <functional>

#include "dns_kernel_fixture.h"

namespace ls::test {
namespace {

constexpr size_t kIp = 14;

class DnsPacketKernel : public DnsKernelTest {
 protected:
  void SetUp() override {
    DnsKernelTest::SetUp();
    if (IsSkipped()) return;
    world().zone("z");
    world().add("z", "a.z", "A", "10.0.0.1");
    world().add("z", "aa.z", "A", "10.0.0.1");
    world().add("z", "aaa.z", "AAAA", "fd00::1");
    lab->fill();
    for (const char* a : {"127.0.0.53", "fd00::53", "fe80::53"}) ASSERT_TRUE(bench().listen(a, 53, 1));
    ASSERT_TRUE(bench().listen("198.51.100.1", 5353, 1));
  }
  /// A frame with this question, changed by `change`.
  Bytes frame(const std::function<void(Bytes&)>& change, const DnsFrame& how = {}) {
    Bytes f = how.around(question());
    change(f);
    return f;
  }
  static Bytes question() { return Question{"a.z"}.bytes(); }
  /// Makes the IPv4 header's checksum right again.
  static void sum_ip(Bytes& f) {
    f[kIp + 10] = f[kIp + 11] = 0;
    const uint16_t sum = checksum(&f[kIp], size_t(f[kIp] & 15) * 4);
    f[kIp + 10] = uint8_t(sum >> 8);
    f[kIp + 11] = uint8_t(sum);
  }
};

TEST_F(DnsPacketKernel, BothFamiliesPortsAndTags) {
  for (const auto& [src, dst] : {std::pair{"10.1.2.3", "198.51.100.1"}, {"fd00::9", "fd00::53"}, {"fe80::9", "fe80::53"}}) {
    for (uint16_t sport : {1, 53, 40000, 65535}) {
      lab->how = {.src = src, .dst = dst, .sport = sport};
      same({"a.z", kTypeA});
      same({"aa.z", kTypeA});  // odd length
      same({"aaa.z", kTypeAaaa});
      same({"aa.z", kTypeTxt}, "nodata");
      if (HasFailure()) return;
    }
  }
  lab->how = {.dport = 5353};
  same({"a.z", kTypeA});
  lab->how = {.dport = 5354};
  up({"a.z"}, "");
  lab->how = {.dst = "198.51.100.2"};
  up({"a.z"}, "");
  lab->how = {.src = "fd00::9", .dst = "fd00::54"};
  up({"a.z"}, "");
  lab->how = {.src = "10.1.2.3", .dst = "127.0.0.53"};
  same({"a.z", kTypeA});
}

TEST_F(DnsPacketKernel, TagsAtXdp) {
  for (int tags : {0, 1, 2}) {
    for (const auto& [src, dst] : {std::pair{"10.1.2.3", "198.51.100.1"}, {"fd00::9", "fd00::53"}}) {
      lab->how = {.src = src, .dst = dst, .tags = tags};
      bool went_up = true;
      EXPECT_EQ(lab->differs(question(), &went_up, "ls_dns_xdp"), "") << tags;
      EXPECT_FALSE(went_up) << tags;
    }
  }
  lab->how = {.tags = 3};
  up_at(1, lab->how.around(question()), "");
  lab->how.tags = 1;
  for (size_t hook : {0, 2, 3, 4}) up_at(hook, lab->how.around(question()), "");
}

TEST_F(DnsPacketKernel, EveryLengthHasRightChecksums) {
  world().zone("sums");
  for (int n = 1; n <= 60; n++) world().add("sums", std::string(size_t(n), 'n') + ".sums", "A", "255.255." + std::to_string(n) + ".255");
  lab->fill();
  for (int n = 1; n <= 60; n++) {
    for (const auto& [src, dst] : {std::pair{"10.1.2.3", "198.51.100.1"}, {"fd00::9", "fd00::53"}}) {
      lab->how = {.src = src, .dst = dst, .sport = uint16_t(1000 + n)};
      for (uint16_t id : {uint16_t(0), uint16_t(0xffff), uint16_t(n * 1111)}) same({.name = std::string(size_t(n), 'N') + ".sums", .id = id});
      same({.name = std::string(size_t(n), 'm') + ".sums", .edns = 1232, .dnssec_ok = true}, "nxdomain");
      if (HasFailure()) return;
    }
  }
}

/// The sum of an answer is 0xffff or 0 before it is turned over for one id in 65,536; all are tried.
TEST_F(DnsPacketKernel, ChecksumZeroIsSentAsAllOnes) {
  size_t ones = 0;
  for (const auto& [src, dst] : {std::pair{"10.1.2.3", "198.51.100.1"}, {"fd00::9", "fd00::53"}}) {
    lab->how = {.src = src, .dst = dst};
    Bytes f = lab->how.around(question());
    const size_t udp = f.size() - question().size() - 8;
    for (const char* program : {"ls_dns_xdp", "ls_dns_try"}) {
      const int fd = bench().prog_fd(program);
      for (uint32_t id = 0; id < 65536; id++) {
        Bytes q = f;
        q[udp + 8] = uint8_t(id >> 8), q[udp + 9] = uint8_t(id);
        // The sum of the question follows its id.
        uint32_t sum = uint32_t(uint16_t(~(f[udp + 6] << 8 | f[udp + 7]))) + id + uint16_t(~0x1234);
        sum = (sum & 0xffff) + (sum >> 16);
        sum = (sum & 0xffff) + (sum >> 16);
        uint16_t check = uint16_t(~sum);
        if (!check) check = 0xffff;
        q[udp + 6] = uint8_t(check >> 8), q[udp + 7] = uint8_t(check);
        const DnsOut out = bench().run_fd(fd, program == std::string("ls_dns_xdp"), program == std::string("ls_dns_try"), q);
        ASSERT_TRUE(out.answered) << id;
        ASSERT_EQ(out.wrong, "") << program << " id " << id;
        if (out.frame[udp + 6] == 0xff && out.frame[udp + 7] == 0xff) ones++;
      }
    }
  }
  EXPECT_GE(ones, 4u);
}

TEST_F(DnsPacketKernel, QuestionsWithoutChecksum) {
  lab->how = {.udp_checksum = false};
  same({"a.z", kTypeA});
  same({"aa.z", kTypeTxt}, "nodata");
  lab->how = {.src = "fd00::9", .dst = "fd00::53", .udp_checksum = false};
  up({"a.z"}, "up_packet");
}

TEST_F(DnsPacketKernel, Padding) {
  Bytes q = question();
  for (size_t padding : {1, 2, 3, 4, 7, 18, 40, 300}) {
    Bytes f = lab->how.around(q);
    f.resize(f.size() + padding, 0x55);
    for (size_t i = 0; i < std::size(kPrograms); i++) {
      const DnsOut out = bench().run(kPrograms[i], f);
      ASSERT_TRUE(out.answered) << padding;
      EXPECT_EQ(out.wrong, "") << kPrograms[i] << " " << padding;
      EXPECT_EQ(normal_form(out.message), normal_form(lab->process.answer(q, lab->client).message));
    }
  }
}

TEST_F(DnsPacketKernel, AnswersShorterThanQuestions) {
  bench().conf().service[1].acl = 1;
  lab->how = {};
  // A cookie in the question, REFUSED without: the answer has the same length; with padding the frame shrinks.
  Question q{"a.z"};
  Bytes f = lab->how.around(q.bytes());
  f.resize(f.size() + 100);
  for (const char* program : kPrograms) {
    const DnsOut out = bench().run(program, f);
    EXPECT_TRUE(out.answered);
    EXPECT_EQ(out.wrong, "");
    EXPECT_EQ(out.frame.size(), f.size() - 100);
  }
}

TEST_F(DnsPacketKernel, LengthsThatDisagree) {
  const auto with16 = [&](size_t at, int v, bool resum = true) {
    return frame([&](Bytes& f) {
      f[at] = uint8_t(v >> 8), f[at + 1] = uint8_t(v);
      if (resum) sum_ip(f);
    });
  };
  const int udp = int(question().size()) + 8, ip = udp + 20;
  for (int d : {-30, -8, -4, -1, 1, 2, 100}) {
    up(with16(kIp + 24, udp + d, false), "up_packet", "UDP length");
    up(with16(kIp + 2, ip + d), "up_packet", "IP length");
  }
  for (int v : {0, 1, 7, 8, 19}) {
    up(with16(kIp + 24, v, false), "up_packet", "UDP length");
    up(with16(kIp + 2, v), "up_packet", "IP length");
  }
  // Both too long for the frame.
  up(frame([&](Bytes& f) {
       f[kIp + 2] = uint8_t((ip + 1) >> 8), f[kIp + 3] = uint8_t(ip + 1);
       f[kIp + 24] = uint8_t((udp + 1) >> 8), f[kIp + 25] = uint8_t(udp + 1);
       sum_ip(f);
     }),
     "up_packet");
  // A message that is cut: UDP and IP agree with each other and with the frame.
  for (size_t n = 0; n < question().size(); n++) {
    Bytes cut = question();
    cut.resize(n);
    up(lab->how.around(cut), n < 12 ? "up_packet" : "up_name_form", "cut to " + std::to_string(n));
  }
  // Longer than any question the kernel reads.
  Bytes large = question();
  large.resize(385);
  up(lab->how.around(large), "up_packet");
}

TEST_F(DnsPacketKernel, OddHeaders) {
  const DnsFrame v6{.src = "fd00::9", .dst = "fd00::53"};
  // Not UDP, not IP, other versions, options: not ours to count.
  up(frame([](Bytes& f) { f[kIp + 9] = 6, sum_ip(f); }), "", "TCP");
  up(frame([](Bytes& f) { f[kIp] = 0x55, sum_ip(f); }), "", "version 5");
  up(frame([](Bytes& f) { f[kIp] = 0x44; }), "", "header too short");
  up(frame([](Bytes& f) { f[kIp] = 0x46; }), "", "IP options");
  up(frame([](Bytes& f) { f[12] = 0x08, f[13] = 0x06; }), "", "ARP");
  up(frame([](Bytes& f) { f[kIp + 6] = 0, f[kIp + 7] = 1, sum_ip(f); }), "", "later fragment");
  up(frame([](Bytes& f) { f[kIp + 6] = 0x20, f[kIp + 7] = 0, sum_ip(f); }), "up_packet", "first fragment");
  up(frame([](Bytes& f) { f[kIp] = 0x40; }, v6), "", "version 4 in IPv6");
  for (uint8_t next : {0, 43, 44, 60, 6, 58}) up(frame([=](Bytes& f) { f[kIp + 6] = next; }, v6), "", "next header");
  const Bytes q = question();
  const std::string_view payload(reinterpret_cast<const char*>(q.data()), q.size());
  for (auto p : {eth().ip("fd00::9", "fd00::53").udp(40000, 53).payload(payload).ip_options(1),
                 eth().ip("10.1.2.3", "198.51.100.1").udp(40000, 53).payload(payload).ip_options(1)}) {
    Bytes f = p.bytes();
    std::fill_n(f.begin(), 6, 0);
    up(f, "", "options");
  }
  // Nobody to answer.
  up(frame([](Bytes& f) { f[kIp + 20] = f[kIp + 21] = 0; }), "up_packet", "source port 0");
  for (const char* src : {"0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1"}) {
    lab->how = {.src = src};
    up({"a.z"}, "up_packet");
  }
  for (const char* src : {"::", "ff02::1"}) {
    lab->how = {.src = src, .dst = "fd00::53"};
    up({"a.z"}, "up_packet");
  }
  // Loopback only there, and where tests ask.
  for (const auto& how : {DnsFrame{.src = "127.0.0.1"}, DnsFrame{.src = "::1", .dst = "fd00::53"}}) {
    const Bytes f = how.around(q);
    for (size_t hook : {1, 2, 3}) up_at(hook, f, "up_packet", how.src);
    for (const char* program : {"ls_dns_try", "ls_dns_lo"}) {
      const DnsOut out = bench().run(program, f);
      EXPECT_TRUE(out.answered) << program << how.src;
      EXPECT_EQ(out.wrong, "");
    }
  }
  // A damaged IPv4 header.
  for (size_t at : {1, 4, 8, 10, 11, 13}) up(frame([=](Bytes& f) { f[kIp + at] ^= 0x10; }), "up_packet", "damaged octet " + std::to_string(at));
}

TEST_F(DnsPacketKernel, FramesForOthersAndBroadcasts) {
  for (uint8_t first : {0x01, 0xff, 0x33}) up_at(1, frame([=](Bytes& f) { f[0] = first; }), "up_packet");
  // tc: the kernel says whom it is for.
  for (uint8_t first : {0x01, 0xff, 0x02})
    for (size_t hook : {2, 3}) up_at(hook, frame([=](Bytes& f) { f[0] = first; }), "");
}

TEST_F(DnsPacketKernel, MessagesThatAreNoPlainQuestion) {
  const auto with = [&](size_t at, std::initializer_list<int> octets, const Question& q = {"a.z"}) {
    Bytes b = q.bytes();
    size_t i = at;
    for (int o : octets) b.at(i++) = uint8_t(o);
    return lab->how.around(b);
  };
  up(with(2, {0x81, 0}), "up_response");
  for (int opcode = 1; opcode < 16; opcode++) up(with(2, {opcode << 3 | 1}), "up_header");
  up(with(2, {0x03}), "up_header", "TC");
  for (size_t count : {4, 6, 8}) {
    up(with(count, {0, 2}), "up_header");
    up(with(count, {1, 1}), "up_header");
  }
  up(with(4, {0, 0}), "up_header");
  up(with(10, {0, 2}), "up_header");
  up(with(10, {1, 0}), "up_header");
  up(with(10, {0, 1}), "up_edns", "an additional record that is not there");
  up(with(12, {0xc0, 12}), "up_name_form", "pointer");
  up(with(12, {64}), "up_name_form");
  up(with(12, {4}), "up_name_form", "a label that ends behind the name");
  up(with(12, {3}), "up_no_view", "a label with a small octet");
  up(with(12, {0}), "up_class", "root, then other octets");
  up(with(13, {0}), "up_class", "zero octet in a label");
  // A label that holds a zero octet and behind it what looks like type, class and OPT.
  for (int length : {2, 6, 17, 18, 63}) up(with(12, {length, 'a', 0, 0, 1, 0, 1}, {.name = "abcde.z"}), "up_packet");
  for (int length : {2, 6, 17, 18, 63}) up(with(12, {length}, {.name = "a", .edns = 1232}), "up_name_form");
  const size_t type = 12 + 5;
  for (int qtype : {128, 200, 249, 250, 251, 252, 253, 254, 255, 41}) up(with(type, {0, qtype}), "up_type");
  for (int qclass : {0, 2, 3, 4, 254, 255, 257}) up(with(type + 2, {qclass >> 8, qclass}), "up_class");
  for (size_t n : {1, 2, 11, 100}) {
    Bytes b = question();
    b.resize(b.size() + n);
    up(lab->how.around(b), "up_packet", "octets behind the message");
  }
  // Bits that mean nothing in a question do not matter.
  for (const uint16_t flags : {0x0000, 0x0100, 0x0120, 0x0110, 0x0040, 0x0080, 0x0400, 0x050f}) same({.name = "a.z", .flags = flags});
}

TEST_F(DnsPacketKernel, OptRecords) {
  const Question plain{.name = "a.z", .edns = 1232};
  const size_t opt = question().size();
  const auto with = [&](size_t at, std::initializer_list<int> octets) {
    Bytes b = plain.bytes();
    size_t i = opt + at;
    for (int o : octets) b.at(i++) = uint8_t(o);
    return lab->how.around(b);
  };
  const auto options = [&](Bytes o) { return lab->how.around(Question{.name = "a.z", .edns = 1232, .options = std::move(o)}.bytes()); };
  up(with(0, {1}), "up_edns", "owner");
  up(with(1, {0, 250}), "up_edns", "TSIG");
  up(with(1, {1, 41}), "up_edns");
  up(with(6, {1}), "up_edns", "version 1");
  up(with(9, {0, 1}), "up_edns", "length");
  up(with(9, {1, 0}), "up_edns", "length");
  up(options({0, 3, 0, 0}), "up_edns", "NSID");
  up(options({0, 8, 0, 4, 0, 1, 0, 0}), "up_edns", "client subnet");
  up(options({0, 12, 0, 2, 0, 0}), "up_edns", "padding");
  up(options({0, 10, 0}), "up_edns");
  for (size_t n : {0, 1, 7, 9, 15, 16, 17, 23, 25, 32, 40, 41}) up(options(cookie_option(Bytes(n, 7))), "up_edns", "cookie of " + std::to_string(n));
  Bytes two = cookie_option(Bytes(8, 7)), again = two;
  two.insert(two.end(), again.begin(), again.end());
  up(options(two), "up_edns", "two cookies");
  Bytes wrong = cookie_option(Bytes(8, 7));
  wrong[3] = 9;
  up(options(wrong), "up_edns", "cookie longer than the record");
  wrong[3] = 7;
  up(options(wrong), "up_edns", "cookie shorter than the record");
  // What means nothing in a question.
  for (int extended : {1, 255}) same(Bytes([&] {
                                       Bytes b = plain.bytes();
                                       b[opt + 5] = uint8_t(extended);
                                       b[opt + 7] = 0x7f, b[opt + 8] = 0xff;
                                       return b;
                                     }()),
                                     "hit", "extended rcode and reserved flags");
}

TEST_F(DnsPacketKernel, SwitchedOff) {
  bench().conf().enabled = 0;
  up({"a.z"}, "up_off");
  lab->how = {.dst = "198.51.100.2"};
  up({"a.z"}, "");
}

TEST_F(DnsPacketKernel, ManyListeningAddresses) {
  int placed = 0;
  for (int i = 0; i < 400; i++) placed += bench().listen("10.77." + std::to_string(i / 250) + "." + std::to_string(i % 250), 53, i % 2);
  EXPECT_GT(placed, 390);
  lab->fill(dns::ServiceKind::kAuthority);
  for (int i = 0; i < 400; i += 7) {
    lab->how = {.dst = "10.77." + std::to_string(i / 250) + "." + std::to_string(i % 250)};
    bool went_up = false;
    EXPECT_EQ(lab->differs(question(), &went_up), "");
    EXPECT_FALSE(went_up) << i;
  }
}

}  // namespace
}  // namespace ls::test
