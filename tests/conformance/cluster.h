#pragma once
/// Cases and captures to the product's types, and back into the form of the cases.
#include "derive/vips.h"
#include "sources/mesos_json.h"
#include "state/cluster_state.h"
#include "suite.h"

namespace ls::conformance {

/// Answers for "localhost" as RFC 6761 section 6.3 wants; all that the cases need of a resolver.
class LoopbackResolver final : public HostResolver {
 public:
  std::optional<IpAddress> resolve(std::string_view hostname) override;
};

/// A state that is fed records as text, through the decoder, with the VIP table kept up to date beside it.
class Cluster {
 public:
  explicit Cluster(VipOptions vip_options = {});
  /// Returns what went wrong: a record that cannot be decoded, a problem in it, tables that disagree with a fresh
  /// derivation. Empty if nothing.
  std::string feed(std::string record, SnapshotContext context = {});
  /// Compares the incremental table with derive_all.
  std::string check() const;

 private:
  LoopbackResolver resolver_;
  RecordDecoder decoder_;
  FakeClock clock_;

 public:
  VipOptions options;
  ClusterState state;
  VipDeriver vips;
  StateDelta delta;  ///< of the last record
};

/// A task in the normalised form of the cases: {framework_id, task_id, task: {...}}.
Json task_json(const Task& task);
Json ports_json(const Task& task);
Json backend_json(const Backend& backend);
Json vip_json(const VipView& vip);
Json vips_json(const std::vector<VipView>& vips);

/// "/web" and "web" are one label here: expectations lose their leading slashes.
Json without_slashes(Json expected);

/// A service or backend of a case file. A backend without weight counts as weight 1.
Backend parse_backend(const Json& j);
Service parse_service(const Json& j);  ///< of an address VIP
Protocol protocol_of(const Json& j);
IpAddress address_of(const Json& j);

}  // namespace ls::conformance
