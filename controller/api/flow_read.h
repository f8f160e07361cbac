#pragma once
/// Reads the flow tables ls_flow4 and ls_flow6, as they lie mmap'ed in memory, into FlowViews: for Provider::flows and for
/// the flow counts of Provider::metrics.
///
/// Thread: any, while programs write: an entry that is being written is looked at again, and left out if it keeps changing.
/// Cost: one pass over the table, about 2 ns an entry. Errors: none.
#include <array>
#include <functional>
#include <span>

#include "api/filter.h"
#include "api/views.h"
#include "loadstar/abi/flow.h"

namespace ls::api {

/// What a backend's number means now.
struct FlowBackend {
  Endpoint endpoint;
  std::string vip_name;
};
/// `generation` is what the flow remembers of its backend; nullopt when the number was given to another backend since, or is free.
/// Such a flow is shown with its number and the zero endpoint.
using FlowBackends = std::function<std::optional<FlowBackend>(uint32_t number, uint16_t generation)>;

/// Now in ticks of the flow tables (LS_TICK_SHIFT), from the clock that the programs use.
uint32_t flow_tick_now();

/// Appends the live flows that match to `out`, until it holds `limit`; then sets out.truncated if there is another one.
/// Each flow once: by its client's direction.
void read_flows(std::span<const ls_flow4_bucket>, uint32_t now_tick, const FlowBackends&, const FlowFilter&, size_t limit, FlowList& out);
void read_flows(std::span<const ls_flow6_bucket>, uint32_t now_tick, const FlowBackends&, const FlowFilter&, size_t limit, FlowList& out);

/// Adds the live flows to `counts`, by FlowState.
void count_flows(std::span<const ls_flow4_bucket>, uint32_t now_tick, std::array<uint64_t, kFlowStates.size()>& counts);
void count_flows(std::span<const ls_flow6_bucket>, uint32_t now_tick, std::array<uint64_t, kFlowStates.size()>& counts);

}  // namespace ls::api
