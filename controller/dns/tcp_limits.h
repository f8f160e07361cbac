#pragma once
/// How many TCP connections there are, in all and from each client. Shared by all workers and services.
/// Thread: any; one short lock for each connection that comes or goes.
#include <atomic>
#include <unordered_map>

#include "util/address.h"
#include "util/guarded.h"

namespace ls::dns {

class TcpLimits {
 public:
  TcpLimits(size_t total, size_t per_client) : total_(total), per_client_(per_client) {}

  /// One connection's place; given back at its end.
  class Place {
   public:
    Place() = default;
    Place(Place&& o) noexcept : limits_(std::exchange(o.limits_, nullptr)), client_(o.client_) {}
    Place& operator=(Place&& o) noexcept {
      std::swap(limits_, o.limits_);
      std::swap(client_, o.client_);
      return *this;
    }
    ~Place() {
      if (limits_) limits_->leave(client_);
    }
    explicit operator bool() const { return limits_; }

   private:
    friend class TcpLimits;
    Place(TcpLimits* limits, const IpAddress& client) : limits_(limits), client_(client) {}
    TcpLimits* limits_ = nullptr;
    IpAddress client_;
  };
  Place enter(const IpAddress& client);  ///< false: too many

 private:
  struct Open {
    size_t all = 0;
    std::unordered_map<IpAddress, size_t> by_client;
  };
  void leave(const IpAddress& client);
  const size_t total_, per_client_;
  Guarded<Open> open_;
};

}  // namespace ls::dns
