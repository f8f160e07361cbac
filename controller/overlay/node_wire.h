#pragma once
/// What a node and the allocator say to each other: a registration and its answer, and the feed of all allocations that every node
/// follows. JSON with a format number; both directions of each text are here, so that two nodes cannot understand it differently.
///
/// Thread: any; pure. Errors: hostile input is bounded in size, depth and counts; a field of a wrong type is named. What a later
/// format adds is passed over, another format number is EPROTO.
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "overlay/allocator.h"

namespace ls::overlay {

inline constexpr size_t kMaxRegistrationText = 256 << 10;  ///< 512 held blocks of 150 octets
inline constexpr size_t kMaxAnswerText = 2 << 20;          ///< a plan, an allocation and notes
inline constexpr size_t kMaxFeedText = 64 << 20;           ///< 65,536 nodes with six overlays
inline constexpr size_t kMaxFeedNodes = 200'000;

/// What a node sends: who it is, what it wants and runs, and how it fared with what it was given.
struct NodeRegistration {
  RegisterRequest request;
  std::vector<OverlayReport> reports;
};
std::string registration_text(const NodeRegistration&);
Result<NodeRegistration> parse_registration(std::string_view text);

/// The answer: the allocation, what of the registration was not followed, and the plan it is of.
struct RegistrationAnswer {
  Allocation allocation;
  std::vector<std::string> notes;
  Plan plan;
  std::string allocator{};  ///< FeedPosition::allocator
  bool operator==(const RegistrationAnswer&) const = default;
};
std::string answer_text(const RegistrationAnswer&);
Result<RegistrationAnswer> parse_answer(std::string_view text);

/// Where a copy of the allocations stands: which run of which allocator, and how many changes it has seen.
struct FeedPosition {
  std::string run;  ///< random, made when the allocator began
  uint64_t version = 0;
  std::string allocator{};  ///< Allocator::id(): which store; empty from one that has none
  uint64_t term = 0;        ///< of masters that take turns at one store: a later one knows of the end of an earlier; 0: no turns
  bool operator==(const FeedPosition&) const = default;
};
struct AllocationFeed {
  FeedPosition at;
  bool full = true;  ///< `nodes` are all there are; else those that changed since the position that was asked for
  Plan plan;
  std::vector<Allocation> nodes;
  std::vector<IpAddress> removed;  ///< only when not full
};
std::string feed_text(const AllocationFeed&);
Result<AllocationFeed> parse_feed(std::string_view text);

}  // namespace ls::overlay
