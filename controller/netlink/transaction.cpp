#include "netlink/transaction.h"

#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace ls::netlink {
namespace {

constexpr size_t kRequestsAtOnce = 64;
constexpr size_t kReceiveBytes = 64 * 1024;

size_t aligned(size_t n) { return (n + NLMSG_ALIGNTO - 1) / NLMSG_ALIGNTO * NLMSG_ALIGNTO; }

Result<UniqueFd> open_route() {
  UniqueFd fd(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!fd) return fail(errno, "open rtnetlink");
  sockaddr_nl to{};
  to.nl_family = AF_NETLINK;
  // Without it an error repeats the whole request, and the answers of a batch would not fit.
  int one = 1;
  (void)setsockopt(fd.get(), SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one);
  if (connect(fd.get(), reinterpret_cast<sockaddr*>(&to), sizeof to)) return fail(errno, "open rtnetlink");
  return fd;
}

/// Reads until each of `results` has its answer. Sequence numbers begin at `first`.
Result<> collect(int fd, uint32_t first, std::span<int> results) {
  std::vector<uint8_t> buffer(kReceiveBytes);
  for (size_t left = results.size(); left;) {
    ssize_t n = recv(fd, buffer.data(), buffer.size(), 0);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(n ? errno : ECONNRESET, "read answers of rtnetlink");
    size_t rest = size_t(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(buffer.data()); NLMSG_OK(h, rest); h = NLMSG_NEXT(h, rest)) {
      uint32_t i = h->nlmsg_seq - first;
      if (h->nlmsg_type != NLMSG_ERROR || i >= results.size()) continue;
      results[i] = -static_cast<nlmsgerr*>(NLMSG_DATA(h))->error;
      left--;
    }
  }
  return {};
}

}  // namespace

Request::Request(uint16_t type, uint16_t flags, const void* header, size_t bytes) : bytes_(aligned(sizeof(nlmsghdr) + bytes)) {
  nlmsghdr h{};
  h.nlmsg_type = type;
  h.nlmsg_flags = uint16_t(NLM_F_REQUEST | NLM_F_ACK | flags);
  std::memcpy(bytes_.data(), &h, sizeof h);
  std::memcpy(bytes_.data() + sizeof h, header, bytes);
  finish();
}

void Request::finish() {
  uint32_t length = uint32_t(bytes_.size());
  std::memcpy(bytes_.data() + offsetof(nlmsghdr, nlmsg_len), &length, sizeof length);
}

Request& Request::put(uint16_t attribute, const void* data, size_t bytes) {
  nlattr a{uint16_t(sizeof(nlattr) + bytes), attribute};
  size_t at = bytes_.size();
  bytes_.resize(at + aligned(sizeof a + bytes));
  std::memcpy(bytes_.data() + at, &a, sizeof a);
  if (bytes) std::memcpy(bytes_.data() + at + sizeof a, data, bytes);
  finish();
  return *this;
}

Request& Request::begin(uint16_t attribute) {
  open_.push_back(bytes_.size());
  return put(uint16_t(attribute | NLA_F_NESTED), nullptr, 0);
}

Request& Request::end() {
  uint16_t length = uint16_t(bytes_.size() - open_.back());
  std::memcpy(bytes_.data() + open_.back() + offsetof(nlattr, nla_len), &length, sizeof length);
  open_.pop_back();
  return *this;
}

Transaction& Transaction::add(const Request& r) {
  offsets_.push_back(bytes_.size());
  bytes_.insert(bytes_.end(), r.bytes().begin(), r.bytes().end());
  return *this;
}

Result<std::vector<int>> Transaction::run() const {
  std::vector<int> results(offsets_.size());
  if (results.empty()) return results;
  LS_ASSIGN(auto fd, open_route());
  auto bytes = bytes_;
  for (size_t i = 0; i < offsets_.size(); i++) {
    uint32_t sequence = uint32_t(i + 1);
    std::memcpy(bytes.data() + offsets_[i] + offsetof(nlmsghdr, nlmsg_seq), &sequence, sizeof sequence);
  }
  for (size_t i = 0; i < offsets_.size(); i += kRequestsAtOnce) {
    size_t count = std::min(kRequestsAtOnce, offsets_.size() - i);
    size_t end = i + count < offsets_.size() ? offsets_[i + count] : bytes.size();
    ssize_t n = send(fd.get(), bytes.data() + offsets_[i], end - offsets_[i], 0);
    if (n < 0) return fail(errno, "write to rtnetlink");
    LS_TRY(collect(fd.get(), uint32_t(i + 1), std::span(results).subspan(i, count)));
  }
  return results;
}

Result<> request(const Request& r, std::string doing) {
  Transaction t;
  t.add(r);
  LS_ASSIGN(auto results, t.run());
  if (results[0]) return fail(results[0], std::move(doing));
  return {};
}

}  // namespace ls::netlink
