#pragma once
/// MesosDnsData: what the Mesos-DNS HTTP API shows, from this daemon's settings and zone. Thread: that API's own, except construction
/// and reload (control loop).
#include <filesystem>

#include "api/dns_source.h"
#include "api/mesos_dns_provider.h"
#include "app/settings.h"
#include "util/published.h"

namespace ls {

class MesosDnsData final : public api::MesosDnsProvider {
 public:
  /// All but the paths must outlive this.
  MesosDnsData(const Config& config, std::filesystem::path file, const MesosZone& zone, api::DnsSource& dns);
  void reload(const Config& config);

  api::MesosDnsConfig config() override { return shown_.get()->config; }
  std::shared_ptr<const dns::Routes> routes() override { return dns_.routes(dns::ServiceKind::kAuthority); }
  Epoch& epoch() override { return dns_.epoch(); }
  std::vector<MesosZone::FrameworkRecords> enumerate(bool raw_names) override;
  bool raw_names() override { return shown_.get()->raw_names; }

 private:
  struct Shown {
    api::MesosDnsConfig config;
    bool raw_names = true;
  };
  const std::filesystem::path file_;
  const MesosZone& zone_;
  api::DnsSource& dns_;
  Published<Shown> shown_;
};

}  // namespace ls
