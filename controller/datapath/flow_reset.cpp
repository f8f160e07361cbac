#include "datapath/flow_reset.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <net/ethernet.h>
#include <netinet/ip.h>
#include <netinet/ip6.h>
#include <netinet/tcp.h>

#include <cerrno>
#include <cstring>
#include <vector>

namespace ls::datapath {
namespace {

uint32_t sum(const void* data, size_t bytes, uint32_t seed = 0) {
  auto* p = static_cast<const uint8_t*>(data);
  for (size_t i = 0; i + 1 < bytes; i += 2) seed += uint32_t(p[i] << 8 | p[i + 1]);
  return seed;
}
uint16_t fold(uint32_t s) {
  while (s >> 16) s = (s & 0xffff) + (s >> 16);
  return htons(uint16_t(~s));
}

/// SYN from the service to the client, as an Ethernet frame to loopback (all MACs zero).
std::vector<uint8_t> syn(const Flow& f) {
  bool v4 = f.client.address.is_v4();
  size_t skip = v4 ? 12 : 0, len = 16 - skip;
  const uint8_t* from = f.service.address.bytes().data() + skip;
  const uint8_t* to = f.client.address.bytes().data() + skip;

  tcphdr tcp{};
  tcp.source = htons(f.service.port);
  tcp.dest = htons(f.client.port);
  tcp.doff = sizeof tcp / 4;
  tcp.syn = 1;
  tcp.window = htons(65535);
  uint32_t s = sum(from, len, sum(to, len, IPPROTO_TCP + sizeof tcp));
  tcp.check = fold(sum(&tcp, sizeof tcp, s));

  std::vector<uint8_t> frame(ETHER_HDR_LEN);
  uint16_t type = htons(v4 ? ETHERTYPE_IP : ETHERTYPE_IPV6);
  std::memcpy(&frame[12], &type, 2);
  auto add = [&](const auto& header) {
    auto* p = reinterpret_cast<const uint8_t*>(&header);
    frame.insert(frame.end(), p, p + sizeof header);
  };
  if (v4) {
    iphdr ip{};
    ip.version = 4;
    ip.ihl = 5;
    ip.tot_len = htons(sizeof ip + sizeof tcp);
    ip.ttl = 64;
    ip.protocol = IPPROTO_TCP;
    std::memcpy(&ip.saddr, from, 4);
    std::memcpy(&ip.daddr, to, 4);
    ip.check = fold(sum(&ip, sizeof ip));
    add(ip);
  } else {
    ip6_hdr ip{};
    ip.ip6_flow = htonl(6u << 28);
    ip.ip6_plen = htons(sizeof tcp);
    ip.ip6_nxt = IPPROTO_TCP;
    ip.ip6_hlim = 64;
    std::memcpy(&ip.ip6_src, from, 16);
    std::memcpy(&ip.ip6_dst, to, 16);
    add(ip);
  }
  add(tcp);
  return frame;
}

}  // namespace

Result<FlowReset> FlowReset::open(const MapOpener& opener, int inject_program) {
  LS_ASSIGN(auto reader, FlowReader::open(opener));
  return FlowReset(std::move(reader), inject_program);
}

Result<size_t> FlowReset::wake(size_t limit) {
  size_t woken = 0;
  for (auto& flow : reader_.dead_tcp(limit)) {
    // A half-open client sends its SYN again by itself and gets another backend.
    if (flow.state != FlowState::kEstablished || flow.service.address.is_zero() || flow.hairpin) continue;
    auto frame = syn(flow);
    LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame.data(), .data_size_in = uint32_t(frame.size()), .repeat = 1);
    if (bpf_prog_test_run_opts(program_, &opts)) return fail(errno, "inject a SYN to " + flow.client.text());
    if (int rc = int(opts.retval)) return fail(-rc, "inject a SYN to " + flow.client.text());
    woken++;
  }
  return woken;
}

}  // namespace ls::datapath
