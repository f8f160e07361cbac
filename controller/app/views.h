#pragma once
/// DaemonViews: what the API shows, read without ever waiting for the control loop.
///
/// Thread: the Provider's functions on the admin thread; `publish*` and `services` on the control loop. The services are
/// shared in a map of immutable entries, so that one change costs one entry; the rest is a snapshot published each second. Kernel
/// tables are read through handles of their own.
#include <atomic>
#include <map>
#include <memory>
#include <span>

#include "api/provider.h"
#include "app/master_turns.h"
#include "app/node_list.h"
#include "app/overlay_service.h"
#include "app/registrations.h"
#include "bpf/map.h"
#include "datapath/counters.h"
#include "datapath/flow_table.h"
#include "datapath/programs.h"
#include "datapath/tables_reader.h"
#include "derive/vip_table.h"
#include "hub/server.h"
#include "loadstar/abi/event.h"
#include "util/guarded.h"
#include "util/histogram.h"
#include "util/published.h"

namespace ls {

class DaemonViews final : public api::Provider {
 public:
  using Services = std::map<ServiceKey, std::shared_ptr<const Service>>;

  explicit DaemonViews(std::function<void(uint32_t)> events_wanted);

  /// Opens the kernel tables; before this the lists of the kernel are empty. Before the server starts.
  Result<> open(const MapOpener& opener, std::vector<datapath::MapInfo> maps);

  /// Before the server starts; all must outlive it.
  void set_dns(api::DnsSource* dns, Registrations* registrations, const NodeList* nodes, const Config& config);

  void set_overlay(OverlayService* overlay, api::OverlayNodeSource* node) {
    overlay_ = overlay;
    overlay_node_ = node;
  }

  /// Null: this node serves none. Must outlive the server of the API, which may run already.
  void set_hub(const hub::Server* hub) { served_hub_ = hub; }

  void set_turns(const MasterTurns* turns) { turns_ = turns; }

  // Control loop.
  void set_settings(const Config& config);  ///< those of now, again after each reload
  void publish(api::StatusView status);
  void services_changed(const VipDelta& delta);
  void services_replaced(const std::vector<Service>& all);
  void converged(std::string_view kind, double seconds);
  void reconciled(std::string_view driver, double seconds);
  /// Entries in use of tables that only their owner can count.
  void publish_usage(std::map<std::string, uint64_t> used) { usage_.publish(std::move(used)); }
  /// A record of ls_events of any kind, as the ring has it. Cost while nobody asked for its kind: one look at it.
  void publish_event(std::span<const std::byte> record);

  /// Services of a name, "web.marathon", and the tasks behind each, in words. Admin thread.
  std::vector<std::string> service_origins(const std::string& name);

  // Admin thread.
  api::StatusView status() override;
  std::vector<api::VipView> vips() override;
  Result<api::FlowList> flows(const api::FlowFilter&, size_t limit) override;
  Result<std::vector<api::MapView>> maps() override;
  Result<> map_dump(std::string_view name, const api::MapSink&) override;
  Result<std::vector<api::DropView>> drops() override;
  Result<std::vector<api::StatView>> stats() override;
  api::MetricsView metrics() override;
  api::EventHub& events() override { return hub_; }
  api::DnsSource* dns() override { return dns_; }
  api::OverlaySource* overlay() override { return overlay_; }
  api::OverlayNodeSource* overlay_node() override { return overlay_node_; }
  bool hub_followers(std::function<void(std::vector<api::HubFollowerView>)> done) override;
  dns::Registry* registry() override { return registrations_ ? registrations_->registry() : nullptr; }
  std::optional<std::string> other_leads() override { return turns_ ? turns_->other_leads() : std::nullopt; }
  std::shared_ptr<const dns::RegistrationFeed> followed() override { return registrations_ ? registrations_->followed() : nullptr; }
  std::vector<api::NodeView> nodes() override { return nodes_ ? nodes_->get() : std::vector<api::NodeView>{}; }
  std::vector<std::pair<std::string, std::string>> settings() override { return *settings_.get(); }
  std::string cluster_key() override { return cluster_key_; }

 private:
  struct Kernel {
    TablesReader tables;
    MapOpener opener;  ///< flow tables are mapped while they are read: the kernel counts every mapped page as this process's
    Counters counters;
    std::vector<datapath::MapInfo> maps;
  };
  /// Names of devices, each looked up at most once a second: of DNS there may be many events.
  class DeviceNames {
   public:
    const std::string& get(uint32_t ifindex, int64_t now_unix_ns);

   private:
    std::map<uint32_t, std::string> known_;
    int64_t second_ = 0;
  };
  std::shared_ptr<const Service> service(const ServiceKey& key);
  void publish_packet(const ls_event& event);

  DeviceNames names_;  ///< control loop
  api::EventHub hub_;
  api::DnsSource* dns_ = nullptr;
  OverlayService* overlay_ = nullptr;
  api::OverlayNodeSource* overlay_node_ = nullptr;
  std::atomic<const hub::Server*> served_hub_ = nullptr;
  Registrations* registrations_ = nullptr;
  const MasterTurns* turns_ = nullptr;
  const NodeList* nodes_ = nullptr;
  Published<std::vector<std::pair<std::string, std::string>>> settings_;
  std::string cluster_key_;
  std::unique_ptr<Kernel> kernel_;
  Published<api::StatusView> status_;
  std::atomic<Instant> published_{Instant{}};
  Published<std::map<std::string, uint64_t>> usage_;
  Guarded<Services> services_;
  std::map<std::string, std::unique_ptr<Histogram>> convergence_, reconcile_;
  int64_t monotonic_to_real_ns_;
};

}  // namespace ls
