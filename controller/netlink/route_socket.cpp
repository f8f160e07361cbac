#include "netlink/route_socket.h"

#include <linux/netlink.h>
#include <sys/socket.h>

#include <cerrno>

namespace ls::netlink {
namespace {

constexpr size_t kAnswer = 32 * 1024;  // the kernel fills dumps up to 32 KiB a message (net/netlink/af_netlink.c)

/// What the kernel adds to an error, with NETLINK_EXT_ACK.
std::string kernel_words(const nlmsghdr* h) {
  if (!(h->nlmsg_flags & NLM_F_ACK_TLVS)) return {};
  auto* e = static_cast<const nlmsgerr*>(NLMSG_DATA(h));
  size_t skip = sizeof *e;
  if (!(h->nlmsg_flags & NLM_F_CAPPED)) skip += NLMSG_ALIGN(e->msg.nlmsg_len) - sizeof e->msg;
  if (h->nlmsg_len < NLMSG_HDRLEN + skip) return {};
  auto found = attributes<8>(reinterpret_cast<const uint8_t*>(e) + skip, h->nlmsg_len - NLMSG_HDRLEN - skip);
  return text_of(found[1]);  // NLMSGERR_ATTR_MSG
}

}  // namespace

uint32_t u32_of(const rtattr* a) {
  uint32_t v = 0;
  if (a && RTA_PAYLOAD(a) >= sizeof v) std::memcpy(&v, RTA_DATA(a), sizeof v);
  return v;
}

std::string text_of(const rtattr* a) {
  if (!a) return {};
  auto* text = static_cast<const char*>(RTA_DATA(a));
  return std::string(text, strnlen(text, RTA_PAYLOAD(a)));
}

void RouteMessage::start(uint16_t type, uint16_t flags, const void* header, size_t size) {
  bytes_.reserve(512);
  nlmsghdr h{};
  h.nlmsg_type = type;
  h.nlmsg_flags = flags;
  raw(&h, sizeof h);
  raw(header, size);
}

RouteMessage& RouteMessage::raw(const void* data, size_t size) {
  auto* p = static_cast<const uint8_t*>(data);
  bytes_.insert(bytes_.end(), p, p + size);
  align();
  return *this;
}

void RouteMessage::align() { bytes_.resize((bytes_.size() + 3) & ~size_t(3)); }

RouteMessage& RouteMessage::put(uint16_t attribute, const void* data, size_t size) {
  rtattr a{};
  a.rta_type = attribute;
  a.rta_len = static_cast<unsigned short>(RTA_LENGTH(size));
  raw(&a, sizeof a);
  return raw(data, size);
}

RouteMessage& RouteMessage::put_text(uint16_t attribute, std::string_view text) {
  std::string with_zero(text);
  return put(attribute, with_zero.c_str(), with_zero.size() + 1);
}

RouteMessage& RouteMessage::begin(uint16_t attribute) {
  open_.push_back(bytes_.size());
  rtattr a{};
  a.rta_type = attribute;
  return raw(&a, sizeof a);
}

RouteMessage& RouteMessage::end() {
  size_t at = open_.back();
  open_.pop_back();
  auto size = static_cast<unsigned short>(bytes_.size() - at);
  std::memcpy(bytes_.data() + at, &size, sizeof size);
  return *this;
}

nlmsghdr* RouteMessage::finish(uint32_t sequence) {
  auto* h = reinterpret_cast<nlmsghdr*>(bytes_.data());
  h->nlmsg_len = uint32_t(bytes_.size());
  h->nlmsg_seq = sequence;
  return h;
}

Result<RouteSocket> RouteSocket::open() {
  RouteSocket s;
  s.fd_.reset(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE));
  if (!s.fd_) return fail(errno, "open rtnetlink");
  int on = 1;
  // Both only make errors readable and short.
  setsockopt(s.fd_.get(), SOL_NETLINK, NETLINK_EXT_ACK, &on, sizeof on);
  setsockopt(s.fd_.get(), SOL_NETLINK, NETLINK_CAP_ACK, &on, sizeof on);
  return s;
}

Result<> RouteSocket::call(RouteMessage& m, std::string_view doing) {
  auto* h = m.finish(++sequence_);
  h->nlmsg_flags |= NLM_F_REQUEST | NLM_F_ACK;
  return exchange(h, doing, nullptr);
}

Result<> RouteSocket::ask(RouteMessage& m, std::string_view doing, const std::function<void(const nlmsghdr*)>& each) {
  auto* h = m.finish(++sequence_);
  h->nlmsg_flags |= NLM_F_REQUEST;
  if ((h->nlmsg_flags & NLM_F_DUMP) != NLM_F_DUMP) h->nlmsg_flags |= NLM_F_ACK;
  return exchange(h, doing, &each);
}

Result<> RouteSocket::exchange(nlmsghdr* request, std::string_view doing, const std::function<void(const nlmsghdr*)>* each) {
  sockaddr_nl kernel{};
  kernel.nl_family = AF_NETLINK;
  ssize_t n;
  // The kernel does the work inside of sendto, so a signal cannot leave it half done: the answer is there afterwards.
  do n = sendto(fd_.get(), request, request->nlmsg_len, 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel);
  while (n < 0 && errno == EINTR);
  if (n < 0) return fail(errno, std::string(doing));
  alignas(nlmsghdr) uint8_t buffer[kAnswer];
  for (;;) {
    do n = recv(fd_.get(), buffer, sizeof buffer, 0);
    while (n < 0 && errno == EINTR);
    if (n < 0) return fail(errno, std::string(doing));
    auto left = static_cast<unsigned>(n);
    for (auto* h = reinterpret_cast<const nlmsghdr*>(buffer); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_seq != request->nlmsg_seq) continue;
      if (h->nlmsg_type == NLMSG_DONE) return {};
      if (h->nlmsg_type == NLMSG_ERROR) {
        if (h->nlmsg_len < NLMSG_LENGTH(sizeof(nlmsgerr))) return fail(EBADMSG, std::string(doing));
        int error = -static_cast<const nlmsgerr*>(NLMSG_DATA(h))->error;
        if (error == 0) return {};
        auto words = kernel_words(h);
        return fail(error, words.empty() ? std::string(doing) : std::string(doing) + " (" + words + ")");
      }
      if (each) (*each)(h);
    }
  }
}

}  // namespace ls::netlink
