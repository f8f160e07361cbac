#pragma once
/// Which VIPs, flows and events a caller asked for. Parsed once from text, then matched many times.
/// Thread: plain values; matching may run on any thread.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "api/views.h"
#include "loadstar/abi/event.h"
#include "util/result.h"

namespace ls::api {

/// Selects VIPs by what people have at hand: NAME, a DNS name, or an address, each with an optional :PORT and /PROTO.
///   web.marathon   web.marathon:80/tcp   web.marathon.l4lb.thisdcos.directory   11.0.0.1:80   [fd01:c::1]:80/udp
/// An IPv6 address without brackets is taken both ways, with and without a port at its end, because
/// GET /v1/vips writes it so.
class VipSelector {
 public:
  static Result<VipSelector> parse(std::string_view text);
  bool matches(const ServiceKey& key, std::string_view name) const;

 private:
  struct Alternative {
    std::optional<IpAddress> address;
    std::string name;  ///< folded; used when there is no address
    std::optional<uint16_t> port;
  };
  std::vector<Alternative> any_;
  std::optional<Protocol> protocol_;
};

/// Selects backends: ADDRESS, ADDRESS:PORT or #NUMBER (number of the table ls_be).
class BackendSelector {
 public:
  static Result<BackendSelector> parse(std::string_view text);
  bool matches(const Endpoint& endpoint, uint32_t number) const;

 private:
  std::optional<IpAddress> address_;
  std::optional<uint16_t> port_;
  std::optional<uint32_t> number_;
};

struct FlowFilter {
  std::optional<VipSelector> vip;
  std::optional<BackendSelector> backend;
  std::optional<FlowState> state;
  bool matches(const FlowView&) const;
};

/// All types but DNS: questions are too many to be sent to somebody who did not ask for them.
inline constexpr uint32_t kDefaultEvents = ((1u << LS_EVENT_MAX) - 1) & ~(1u << LS_EVENT_DNS);

struct EventFilter {
  uint32_t types = kDefaultEvents;  ///< mask of 1 << enum ls_event_type
  std::optional<VipSelector> vip;
  std::optional<BackendSelector> backend;
  // The two lists of hooks share the name "lo": a hook that was asked for by name may be in both. An event matches by its own list.
  std::optional<uint8_t> hook, dns_hook;
  std::optional<DnsName> name;  ///< folded; questions for it and for names below it. A name that is cut in its event never matches
  std::optional<uint32_t> results;  ///< mask of 1 << enum ls_dns_result
  bool matches(const EventView&) const;

 private:
  bool matches_dns(const DnsEventView&) const;
};

}  // namespace ls::api
