#pragma once
/// A Provider of nothing, for routes that ask for one part only: whatever else they ask for ends the program.
#include <cstdlib>

#include "api/provider.h"

namespace ls::fuzz {

class BareProvider : public api::Provider {
 public:
  api::StatusView status() override { std::abort(); }
  std::vector<api::VipView> vips() override { std::abort(); }
  Result<api::FlowList> flows(const api::FlowFilter&, size_t) override { std::abort(); }
  Result<std::vector<api::MapView>> maps() override { std::abort(); }
  Result<> map_dump(std::string_view, const api::MapSink&) override { std::abort(); }
  Result<std::vector<api::DropView>> drops() override { std::abort(); }
  Result<std::vector<api::StatView>> stats() override { std::abort(); }
  api::MetricsView metrics() override { std::abort(); }
  api::EventHub& events() override { std::abort(); }
};

}  // namespace ls::fuzz
