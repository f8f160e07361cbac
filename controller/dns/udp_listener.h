#pragma once
/// UDP: questions in batches, answers in batches. Thread: the worker's. Nothing is allocated for what is
/// answered at once.
///
/// A readable socket is drained in batches of kBatch, at most kRounds of them before the worker's other
/// sockets have their turn. Each batch has one look at the clock, the routes and the epoch. An answer that
/// the kernel has no room for is dropped: clients ask again. Answers of upstreams leave one by one as they
/// come.
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <memory>

#include "dns/responder.h"
#include "util/unique_fd.h"

namespace ls::dns {

/// Room for one batch; a worker's listeners share one.
class UdpBatch {
 public:
  static constexpr size_t kBatch = 64;
  static constexpr size_t kControl = 64;  ///< octets; CMSG_SPACE(sizeof(in6_pktinfo)) is 40
  explicit UdpBatch(size_t largest_answer);

 private:
  friend class UdpListener;
  /// Octets of a question. Nobody is told that larger ones are read (EDNS offers 1232). An odd number of
  /// cache lines, so that the starts of all buffers do not fall into the same places of the cache.
  static constexpr size_t kQuestion = 2048 + 64;
  const size_t answer_;
  std::unique_ptr<uint8_t[]> questions_, answers_, control_;
  std::array<sockaddr_storage, kBatch> peers_;
  std::array<iovec, kBatch> in_iov_, out_iov_;
  std::array<mmsghdr, kBatch> in_, out_;
};

class UdpListener {
 public:
  UdpListener(boost::asio::io_context& io, UniqueFd fd, bool wildcard, Responder& responder,
              Epoch::Reader& reader, UdpBatch& batch, const Clock& clock);
  void start();

 private:
  void wait();
  void drain();
  size_t receive();
  void answer(size_t count);
  void send(size_t count);
  void forward(size_t i, std::span<const uint8_t> written);

  boost::asio::io_context& io_;
  boost::asio::posix::stream_descriptor socket_;
  const bool wildcard_;
  Responder& responder_;
  Epoch::Reader& reader_;
  UdpBatch& batch_;
  const Clock& clock_;
};

}  // namespace ls::dns
