// vip-queue QUEUE CPU BACKENDS: the userspace half of balancing by NFQUEUE, as the first generation of DC/OS' Minuteman
// worked: the first packet of each connection waits here for a decision, which is returned as a mark, 1 + the number of the
// backend; the nat table does the rest. The original also made the connection tracking entry from userspace, in Erlang: this
// is a lower bound of its cost.
#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <netinet/ip.h>
#include <sys/socket.h>

#include <libnetfilter_queue/libnetfilter_queue.h>

#include "load.h"

namespace {

using namespace perf;

constexpr uint32_t kCopy = 64;           // bytes of each packet that come up
constexpr uint32_t kMaxWaiting = 65536;  // packets
constexpr int kSocketBuffer = 64 << 20;

int decide(nfq_q_handle* queue, nfgenmsg*, nfq_data* packet, void* backends) {
  auto* header = nfq_get_msg_packet_hdr(packet);
  unsigned char* data = nullptr;
  int size = nfq_get_payload(packet, &data);
  if (!header) return -1;
  uint32_t id = ntohl(header->packet_id), mark = 0;
  if (size >= 24 && data[0] == 0x45) {
    uint32_t source, ports;
    std::memcpy(&source, data + 12, 4);
    std::memcpy(&ports, data + 20, 4);
    uint64_t h = (uint64_t(source) << 32 | ports) * 0x9e3779b97f4a7c15ull;
    mark = 1 + uint32_t(h >> 32) % *static_cast<uint32_t*>(backends);
  }
  return nfq_set_verdict2(queue, id, NF_ACCEPT, mark, 0, nullptr);
}

}  // namespace

int main(int argc, char** argv) {
  must(argc == 4, "arguments");
  pin(std::atoi(argv[2]));
  uint32_t backends = uint32_t(std::atoi(argv[3]));
  nfq_handle* h = nfq_open();
  must(h, "nfq_open");
  nfq_q_handle* queue = nfq_create_queue(h, uint16_t(std::atoi(argv[1])), decide, &backends);
  must(queue, "nfq_create_queue");
  must(nfq_set_mode(queue, NFQNL_COPY_PACKET, kCopy) >= 0, "nfq_set_mode");
  must(nfq_set_queue_maxlen(queue, kMaxWaiting) >= 0, "nfq_set_queue_maxlen");
  int fd = nfq_fd(h);
  must(setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &kSocketBuffer, sizeof kSocketBuffer) == 0, "SO_RCVBUFFORCE");
  std::puts("ready");
  std::fflush(stdout);
  alignas(8) char buffer[65536];
  for (;;) {
    ssize_t n = recv(fd, buffer, sizeof buffer, 0);
    if (n > 0) nfq_handle_packet(h, buffer, int(n));
  }
}
