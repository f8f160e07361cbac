#include "bpf/ring_buffer.h"

#include <bpf/libbpf.h>

#include <cerrno>

#include "bpf/object.h"

namespace ls::bpf {

/// Behind a pointer because libbpf keeps its address.
struct RingBuffer::Impl {
  Callback callback;
  size_t left = 0;  ///< records that this consume() may still take
  size_t taken = 0;
  ring_buffer* ring = nullptr;
  ~Impl() { ring_buffer__free(ring); }

  /// A negative answer ends libbpf's loop after this record.
  static int on_record(void* ctx, void* data, size_t size) {
    auto& self = *static_cast<Impl*>(ctx);
    self.callback({static_cast<const std::byte*>(data), size});
    self.taken++;
    return --self.left == 0 ? -EAGAIN : 0;
  }
};

RingBuffer::RingBuffer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
RingBuffer::RingBuffer(RingBuffer&&) noexcept = default;
RingBuffer& RingBuffer::operator=(RingBuffer&&) noexcept = default;
RingBuffer::~RingBuffer() = default;

Result<RingBuffer> RingBuffer::open(int map_fd, Callback callback) {
  quiet_libbpf();
  auto impl = std::make_unique<Impl>();
  impl->callback = std::move(callback);
  impl->ring = ring_buffer__new(map_fd, Impl::on_record, impl.get(), nullptr);
  if (!impl->ring) return fail(errno, "map a ring buffer");
  return RingBuffer(std::move(impl));
}

int RingBuffer::epoll_fd() const {
  return ring_buffer__epoll_fd(impl_->ring);
}

Result<size_t> RingBuffer::consume(size_t max) {
  impl_->left = max;
  impl_->taken = 0;
  int err = ring_buffer__consume(impl_->ring);
  if (err < 0 && err != -EAGAIN) return fail(-err, "read a ring buffer");
  return impl_->taken;
}

}  // namespace ls::bpf
