#pragma once
/// DnsName: a domain name in wire form (RFC 1035 3.1): labels with their length in front, then the zero byte of the root.
/// Always valid: labels of 1 to 63 octets, 255 octets in all. Any octet may occur in a label. Value type, thread: any.
///
/// Relative names are the same without the zero byte and without the zone's apex: "web.marathon" in the zone "mesos." is
/// "\3web\8marathon"; the apex itself is empty. They are plain byte strings (std::string), because a zone holds many.
/// "Folded" means A-Z replaced by a-z, which is how names are compared (RFC 4343).
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "util/result.h"

namespace ls {

class DnsName {
 public:
  static constexpr size_t kMaxLabel = 63, kMaxWire = 255;

  DnsName() : wire_(1, '\0') {}  ///< the root
  /// Presentation form: dots between labels, trailing dot optional, "\." and "\DDD" escapes (RFC 1035 5.1). The error says which
  /// label is wrong and why.
  static Result<DnsName> parse(std::string_view text);
  /// A name without compression that fills the span exactly.
  static std::optional<DnsName> from_wire(std::span<const uint8_t> wire);
  /// `relative` below `apex`; nullopt when it gets too long.
  static std::optional<DnsName> join(std::string_view relative, const DnsName& apex);

  std::string text() const;  ///< with trailing dot: "web.marathon.mesos.", "." for the root; escapes where needed
  std::string_view wire() const { return wire_; }
  bool is_root() const { return wire_.size() == 1; }
  size_t labels() const;  ///< without the root
  DnsName folded() const;
  /// True for the name itself and everything below `zone`; without case.
  bool is_within(const DnsName& zone) const;
  /// The part below `zone`, folded; only when is_within(zone).
  std::string relative_to(const DnsName& zone) const;

  bool operator==(const DnsName&) const = default;  ///< octet by octet; fold first to compare as DNS does

 private:
  explicit DnsName(std::string wire) : wire_(std::move(wire)) {}
  std::string wire_;
};

/// "web.marathon" -> "\3web\8marathon", folded; each part between dots is a label, no escapes. nullopt when a label is empty or
/// longer than 63 octets, or the whole longer than 254. Empty text: the apex.
std::optional<std::string> relative_name(std::string_view dotted);
/// The reverse, for logs and lists: escapes as in DnsName::text, no trailing dot.
std::string relative_text(std::string_view relative);

void fold(std::span<uint8_t> name);  ///< in place; length octets are never in A-Z's range of letters (<= 63)

/// 64 bits of a folded name's octets, keyed, so that nobody who chooses names can make them collide.
uint64_t name_hash(std::string_view folded, uint64_t key);
uint64_t random_key();  ///< from the kernel's generator, made once a process

}  // namespace ls
