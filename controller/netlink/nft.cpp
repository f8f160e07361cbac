#include "netlink/nft.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>

#include "netlink/route_socket.h"
#include "util/unique_fd.h"

namespace ls::netlink {
namespace {

constexpr uint16_t kNested = 0x8000;        // NLA_F_NESTED
constexpr size_t kDump = 64 * 1024;
constexpr int kPriority = 100;              // NF_IP_PRI_NAT_SRC
constexpr int kPatience_ms = 5'000;         // the kernel answers inside of the send; more than a moment means that something is wrong
constexpr int kTries = 5;                   // of a dump that something else changed meanwhile
constexpr size_t kMaxMessages = 16'384;

uint16_t type_of(uint16_t message) { return uint16_t(NFNL_SUBSYS_NFTABLES << 8 | message); }
nfgenmsg header(uint8_t family = NFPROTO_INET, uint16_t resource = 0) { return {family, NFNETLINK_V0, htons(resource)}; }

/// Attributes alone, without a message around them.
class Attrs {
 public:
  Attrs& put(uint16_t type, const void* data, size_t size) {
    rtattr a{};
    a.rta_type = type;
    a.rta_len = static_cast<unsigned short>(RTA_LENGTH(size));
    append(&a, sizeof a);
    append(data, size);
    bytes_.resize(RTA_ALIGN(bytes_.size()));
    return *this;
  }
  Attrs& put32(uint16_t type, uint32_t host) {
    uint32_t v = htonl(host);
    return put(type, &v, sizeof v);
  }
  Attrs& put_text(uint16_t type, const std::string& text) { return put(type, text.c_str(), text.size() + 1); }
  Attrs& put(uint16_t type, const Attrs& inside) { return put(uint16_t(type | kNested), inside.bytes_.data(), inside.bytes_.size()); }
  std::vector<uint8_t> take() { return std::move(bytes_); }

 private:
  void append(const void* data, size_t size) {
    auto* p = static_cast<const uint8_t*>(data);
    bytes_.insert(bytes_.end(), p, p + size);
  }
  std::vector<uint8_t> bytes_;
};

Attrs value(const void* data, size_t size) { return Attrs().put(NFTA_DATA_VALUE, data, size); }

void add(NftRule& rule, const char* name, Attrs attributes) { rule.push_back({name, attributes.take()}); }

void add_equal(NftRule& rule, const void* data, size_t size) {
  add(rule, "cmp", Attrs().put32(NFTA_CMP_SREG, NFT_REG_1).put32(NFTA_CMP_OP, NFT_CMP_EQ).put(NFTA_CMP_DATA, value(data, size)));
}

void add_verdict(NftRule& rule, int32_t verdict, const std::string& chain = {}) {
  Attrs v;
  v.put32(NFTA_VERDICT_CODE, uint32_t(verdict));
  if (!chain.empty()) v.put_text(NFTA_VERDICT_CHAIN, chain);
  add(rule, "immediate", Attrs().put32(NFTA_IMMEDIATE_DREG, NFT_REG_VERDICT).put(NFTA_IMMEDIATE_DATA, Attrs().put(NFTA_DATA_VERDICT, v)));
}

/// A message of the batch.
RouteMessage message(uint16_t type, uint16_t flags) { return RouteMessage(type_of(type), uint16_t(flags | NLM_F_ACK), header()); }

void put_be32(RouteMessage& m, uint16_t type, uint32_t host) { m.put32(type, htonl(host)); }

using Each = std::function<void(const nlmsghdr*)>;

class Socket {
 public:
  static Result<Socket> open() {
    Socket s;
    s.fd_.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER));
    if (!s.fd_) return fail(errno, "open nfnetlink");
    int on = 1, size = 4 << 20;
    setsockopt(s.fd_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
    // A batch answers each of its messages; without this the answers of a large one would not fit. Beyond the system's limit with CAP_NET_ADMIN.
    if (setsockopt(s.fd_.get(), SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof size) != 0) setsockopt(s.fd_.get(), SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(s.fd_.get(), SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof size);
    return s;
  }

  /// A dump, or one object. EINTR: something changed meanwhile.
  Result<> ask(RouteMessage& m, uint16_t flags, const std::string& doing, const Each& each) {
    auto* h = m.finish(++sequence_);
    h->nlmsg_flags |= uint16_t(NLM_F_REQUEST | flags);
    LS_TRY(send(h, h->nlmsg_len, doing));
    bool interrupted = false;
    for (;;) {
      LS_ASSIGN(auto n, receive(doing));
      auto left = static_cast<unsigned>(n);
      for (auto* a = reinterpret_cast<const nlmsghdr*>(buffer_.data()); NLMSG_OK(a, left); a = NLMSG_NEXT(a, left)) {
        if (a->nlmsg_seq != sequence_) continue;
        interrupted |= (a->nlmsg_flags & NLM_F_DUMP_INTR) != 0;
        if (a->nlmsg_type == NLMSG_DONE) return interrupted ? Result<>(fail(EINTR, doing)) : Result<>();
        if (a->nlmsg_type == NLMSG_ERROR) return error_of(a, doing);
        if (a->nlmsg_len >= NLMSG_LENGTH(sizeof(nfgenmsg))) each(a);
        if (!(a->nlmsg_flags & NLM_F_MULTI)) return {};
      }
    }
  }

  /// All of it or nothing. Each message asks for an answer.
  Result<> batch(std::vector<RouteMessage>& messages, const std::string& doing) {
    if (messages.size() > kMaxMessages) return fail(E2BIG, doing);
    uint32_t first = sequence_ + 1;
    std::vector<uint8_t> bytes;
    auto put = [&](RouteMessage& m) {
      auto* h = m.finish(++sequence_);
      h->nlmsg_flags |= NLM_F_REQUEST;
      auto* p = reinterpret_cast<const uint8_t*>(h);
      bytes.insert(bytes.end(), p, p + h->nlmsg_len);
    };
    RouteMessage begin(NFNL_MSG_BATCH_BEGIN, 0, header(AF_UNSPEC, NFNL_SUBSYS_NFTABLES)), end(NFNL_MSG_BATCH_END, 0, header(AF_UNSPEC, NFNL_SUBSYS_NFTABLES));
    put(begin);
    for (auto& m : messages) put(m);
    put(end);
    LS_TRY(send(bytes.data(), bytes.size(), doing));
    size_t answers = 0;
    while (answers < messages.size()) {
      LS_ASSIGN(auto n, receive(doing));
      auto left = static_cast<unsigned>(n);
      for (auto* a = reinterpret_cast<const nlmsghdr*>(buffer_.data()); NLMSG_OK(a, left); a = NLMSG_NEXT(a, left)) {
        if (a->nlmsg_type != NLMSG_ERROR || a->nlmsg_seq - first > sequence_ - first) continue;
        LS_TRY(error_of(a, doing));
        answers++;
      }
    }
    return {};
  }

 private:
  static Result<> error_of(const nlmsghdr* h, const std::string& doing) {
    if (h->nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) return fail(EBADMSG, doing);
    int error = -static_cast<const nlmsgerr*>(NLMSG_DATA(h))->error;
    if (error) return fail(error, doing);
    return {};
  }

  Result<> send(const void* data, size_t size, const std::string& doing) {
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    ssize_t n;
    do n = sendto(fd_.get(), data, size, 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
    while (n < 0 && errno == EINTR);
    if (n < 0) return fail(errno, doing);
    return {};
  }

  Result<size_t> receive(const std::string& doing) {
    pollfd fd{fd_.get(), POLLIN, 0};
    int ready;
    do ready = poll(&fd, 1, kPatience_ms);
    while (ready < 0 && errno == EINTR);
    if (ready == 0) return fail(ETIMEDOUT, doing);
    ssize_t n;
    do n = recv(fd_.get(), buffer_.data(), buffer_.size(), MSG_TRUNC);
    while (n < 0 && errno == EINTR);
    if (n < 0) return fail(errno, doing);
    if (size_t(n) > buffer_.size()) return fail(EMSGSIZE, doing);
    return size_t(n);
  }

  UniqueFd fd_;
  uint32_t sequence_ = 0;
  std::vector<uint8_t> buffer_ = std::vector<uint8_t>(kDump);
};

template <size_t N>
Attributes<N> attributes_of(const nlmsghdr* h) {
  auto* first = static_cast<const uint8_t*>(NLMSG_DATA(h)) + NLMSG_ALIGN(sizeof(nfgenmsg));
  return attributes<N>(first, h->nlmsg_len - NLMSG_LENGTH(NLMSG_ALIGN(sizeof(nfgenmsg))));
}

uint32_t be32(const rtattr* a) { return ntohl(u32_of(a)); }

/// Whether every attribute of `sent` is in `got` with the same value. The kernel adds some of its own.
bool holds(std::span<const uint8_t> got, std::span<const uint8_t> sent) {
  int left = int(sent.size());  // signed: the last step may go below zero
  for (auto* s = reinterpret_cast<const rtattr*>(sent.data()); RTA_OK(s, left); s = RTA_NEXT(s, left)) {
    const rtattr* found = nullptr;
    int rest = int(got.size());
    for (auto* g = reinterpret_cast<const rtattr*>(got.data()); RTA_OK(g, rest) && !found; g = RTA_NEXT(g, rest))
      if ((g->rta_type & 0x3fff) == (s->rta_type & 0x3fff)) found = g;
    if (!found) return false;
    auto a = bytes_of(found), b = bytes_of(s);
    if (s->rta_type & kNested ? !holds(a, b) : !std::equal(a.begin(), a.end(), b.begin(), b.end())) return false;
  }
  return true;
}

bool same_rule(const rtattr* expressions, const NftRule& wanted) {
  size_t index = 0;
  if (!expressions) return wanted.empty();
  auto all = bytes_of(expressions);
  int left = int(all.size());
  for (auto* e = reinterpret_cast<const rtattr*>(all.data()); RTA_OK(e, left); e = RTA_NEXT(e, left)) {
    auto parts = bytes_of(e);
    auto a = attributes<NFTA_EXPR_MAX + 1>(parts.data(), parts.size());
    if (index == wanted.size() || text_of(a[NFTA_EXPR_NAME]) != wanted[index].name) return false;
    std::span<const uint8_t> data;
    if (a[NFTA_EXPR_DATA]) data = bytes_of(a[NFTA_EXPR_DATA]);
    if (!holds(data, wanted[index].attributes)) return false;
    index++;
  }
  return index == wanted.size();
}

/// kSame: it is there and has no flags (a dormant table does nothing).
Result<NftFound> compare_table(Socket& socket, const std::string& name) {
  RouteMessage m(type_of(NFT_MSG_GETTABLE), 0, header());
  m.put_text(NFTA_TABLE_NAME, name);
  auto found = NftFound::kDiffers;
  auto r = socket.ask(m, 0, "read nftables table " + name, [&](const nlmsghdr* h) {
    auto a = attributes_of<NFTA_TABLE_MAX + 1>(h);
    if (text_of(a[NFTA_TABLE_NAME]) == name && be32(a[NFTA_TABLE_FLAGS]) == 0) found = NftFound::kSame;
  });
  if (!r && r.error().code.value() == ENOENT) return NftFound::kAbsent;
  if (!r) return tl::make_unexpected(std::move(r.error()));
  return found;
}

bool right_hook(const Attributes<NFTA_CHAIN_MAX + 1>& a, bool base) {
  if (!base) return !a[NFTA_CHAIN_HOOK];
  if (!a[NFTA_CHAIN_HOOK]) return false;
  auto inside = bytes_of(a[NFTA_CHAIN_HOOK]);
  auto hook = attributes<NFTA_HOOK_MAX + 1>(inside.data(), inside.size());
  return be32(hook[NFTA_HOOK_HOOKNUM]) == NF_INET_POST_ROUTING && int32_t(be32(hook[NFTA_HOOK_PRIORITY])) == kPriority &&
         text_of(a[NFTA_CHAIN_TYPE]) == "nat" && be32(a[NFTA_CHAIN_POLICY]) == NF_ACCEPT;
}

Result<bool> same_chains(Socket& socket, const NftTable& table) {
  RouteMessage m(type_of(NFT_MSG_GETCHAIN), 0, header());
  size_t right = 0;
  bool wrong = false;
  LS_TRY(socket.ask(m, NLM_F_DUMP, "read nftables chains of " + table.name, [&](const nlmsghdr* h) {
    auto a = attributes_of<NFTA_CHAIN_MAX + 1>(h);
    if (text_of(a[NFTA_CHAIN_TABLE]) != table.name) return;
    auto name = text_of(a[NFTA_CHAIN_NAME]);
    auto it = std::find_if(table.chains.begin(), table.chains.end(), [&](auto& c) { return c.name == name; });
    if (it == table.chains.end() || !right_hook(a, it->nat_postrouting)) wrong = true;
    else right++;
  }));
  return !wrong && right == table.chains.size();
}

Result<bool> same_rules(Socket& socket, const NftTable& table) {
  RouteMessage m(type_of(NFT_MSG_GETRULE), 0, header());
  m.put_text(NFTA_RULE_TABLE, table.name);
  std::vector<size_t> seen(table.chains.size());
  bool wrong = false;
  LS_TRY(socket.ask(m, NLM_F_DUMP, "read nftables rules of " + table.name, [&](const nlmsghdr* h) {
    auto a = attributes_of<NFTA_RULE_MAX + 1>(h);
    if (text_of(a[NFTA_RULE_TABLE]) != table.name) return;
    auto name = text_of(a[NFTA_RULE_CHAIN]);
    for (size_t c = 0; c < table.chains.size(); c++) {
      if (table.chains[c].name != name) continue;
      auto& rules = table.chains[c].rules;
      if (seen[c] >= rules.size() || !same_rule(a[NFTA_RULE_EXPRESSIONS], rules[seen[c]])) wrong = true;
      seen[c]++;
      return;
    }
    wrong = true;
  }));
  for (size_t c = 0; c < seen.size(); c++) wrong |= seen[c] != table.chains[c].rules.size();
  return !wrong;
}

Result<NftFound> compare_once(Socket& socket, const NftTable& table) {
  LS_ASSIGN(auto found, compare_table(socket, table.name));
  if (found != NftFound::kSame) return found;
  LS_ASSIGN(bool chains, same_chains(socket, table));
  if (!chains) return NftFound::kDiffers;
  LS_ASSIGN(bool rules, same_rules(socket, table));
  return rules ? NftFound::kSame : NftFound::kDiffers;
}

RouteMessage table_message(uint16_t type, uint16_t flags, const std::string& name) {
  auto m = message(type, flags);
  m.put_text(NFTA_TABLE_NAME, name);
  return m;
}

RouteMessage chain_message(const std::string& table, const NftChain& chain) {
  auto m = message(NFT_MSG_NEWCHAIN, NLM_F_CREATE);
  m.put_text(NFTA_CHAIN_TABLE, table).put_text(NFTA_CHAIN_NAME, chain.name);
  if (!chain.nat_postrouting) return m;
  m.begin(NFTA_CHAIN_HOOK | kNested);
  put_be32(m, NFTA_HOOK_HOOKNUM, NF_INET_POST_ROUTING);
  put_be32(m, NFTA_HOOK_PRIORITY, uint32_t(kPriority));
  m.end();
  put_be32(m, NFTA_CHAIN_POLICY, NF_ACCEPT);
  m.put_text(NFTA_CHAIN_TYPE, "nat");
  return m;
}

RouteMessage rule_message(const std::string& table, const std::string& chain, const NftRule& rule) {
  auto m = message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
  m.put_text(NFTA_RULE_TABLE, table).put_text(NFTA_RULE_CHAIN, chain).begin(NFTA_RULE_EXPRESSIONS | kNested);
  for (auto& e : rule) {
    m.begin(NFTA_LIST_ELEM | kNested).put_text(NFTA_EXPR_NAME, e.name).begin(NFTA_EXPR_DATA | kNested);
    if (!e.attributes.empty()) m.raw(e.attributes.data(), e.attributes.size());
    m.end().end();
  }
  m.end();
  return m;
}

}  // namespace

void nft_match_family(NftRule& rule, bool v6) {
  add(rule, "meta", Attrs().put32(NFTA_META_DREG, NFT_REG_1).put32(NFTA_META_KEY, NFT_META_NFPROTO));
  uint8_t family = v6 ? NFPROTO_IPV6 : NFPROTO_IPV4;
  add_equal(rule, &family, sizeof family);
}

void nft_match_network(NftRule& rule, NftSide side, const IpNetwork& network) {
  bool v4 = network.address.is_v4();
  size_t size = v4 ? 4 : 16, skip = 16 - size;
  // Offsets of the addresses: RFC 791 and RFC 8200.
  uint32_t offset = side == NftSide::kSource ? (v4 ? 12 : 8) : (v4 ? 16 : 24);
  uint8_t prefix = uint8_t(network.prefix - skip * 8);
  add(rule, "payload", Attrs().put32(NFTA_PAYLOAD_DREG, NFT_REG_1).put32(NFTA_PAYLOAD_BASE, NFT_PAYLOAD_NETWORK_HEADER)
        .put32(NFTA_PAYLOAD_OFFSET, offset).put32(NFTA_PAYLOAD_LEN, uint32_t(size)));
  uint8_t mask[16]{}, none[16]{};
  for (size_t i = 0; i < size; i++) mask[i] = prefix >= 8 * (i + 1) ? 0xff : prefix <= 8 * i ? 0 : uint8_t(0xff << (8 * (i + 1) - prefix));
  add(rule, "bitwise", Attrs().put32(NFTA_BITWISE_SREG, NFT_REG_1).put32(NFTA_BITWISE_DREG, NFT_REG_1).put32(NFTA_BITWISE_LEN, uint32_t(size))
        .put(NFTA_BITWISE_MASK, value(mask, size)).put(NFTA_BITWISE_XOR, value(none, size)));
  add_equal(rule, network.address.bytes().data() + skip, size);
}

void nft_match_output(NftRule& rule, const std::string& device) {
  char name[IFNAMSIZ]{};
  device.copy(name, sizeof name - 1);
  add(rule, "meta", Attrs().put32(NFTA_META_DREG, NFT_REG_1).put32(NFTA_META_KEY, NFT_META_OIFNAME));
  add_equal(rule, name, sizeof name);
}

void nft_count(NftRule& rule) { add(rule, "counter", {}); }
void nft_masquerade(NftRule& rule) { add(rule, "masq", {}); }
void nft_return(NftRule& rule) { add_verdict(rule, NFT_RETURN); }
void nft_go_to(NftRule& rule, const std::string& chain) { add_verdict(rule, NFT_GOTO, chain); }

Result<NftFound> nft_compare(const NftTable& table) {
  LS_ASSIGN(auto socket, Socket::open());
  for (int i = 0;; i++) {
    auto r = compare_once(socket, table);
    if (r || i + 1 == kTries || r.error().code.value() != EINTR) return r;
  }
}

Result<> nft_replace(const NftTable& table) {
  LS_ASSIGN(auto socket, Socket::open());
  std::vector<RouteMessage> all;
  // Made first, so that there is one to delete.
  all.push_back(table_message(NFT_MSG_NEWTABLE, NLM_F_CREATE, table.name));
  all.push_back(table_message(NFT_MSG_DELTABLE, 0, table.name));
  all.push_back(table_message(NFT_MSG_NEWTABLE, NLM_F_CREATE, table.name));
  for (auto& c : table.chains) all.push_back(chain_message(table.name, c));
  for (auto& c : table.chains)
    for (auto& r : c.rules) all.push_back(rule_message(table.name, c.name, r));
  return socket.batch(all, "write nftables table " + table.name);
}

Result<bool> nft_remove(const std::string& table) {
  LS_ASSIGN(auto socket, Socket::open());
  LS_ASSIGN(auto found, compare_table(socket, table));
  if (found == NftFound::kAbsent) return false;
  std::vector<RouteMessage> all;
  all.push_back(table_message(NFT_MSG_DELTABLE, 0, table));
  LS_TRY(socket.batch(all, "remove nftables table " + table));
  return true;
}

}  // namespace ls::netlink
