#pragma once
/// A small Mesos domain made by hand, for the tests of the Mesos-DNS HTTP API.
#include <atomic>

#include "api/mesos_dns_provider.h"

namespace ls::api {

class FakeMesosDns : public MesosDnsProvider {
 public:
  FakeMesosDns() : table_(std::make_shared<dns::ZoneTable>(epoch_)) {
    table_->set_fixed_serial(1234);
    add("web.marathon", "10.0.0.7");
    add("web.marathon", "10.0.0.8");
    add("web.marathon", "fd00::8");
    add("leader", "10.0.0.1");
    RecordDelta d;
    auto target = relative_name("web.marathon").value();
    d.add.push_back(srv_record(relative_name("_web._tcp.marathon").value(), 0, 1, 31001, target));
    d.add.push_back(srv_record(relative_name("_lost._tcp.marathon").value(), 0, 1, 1, relative_name("gone.marathon").value()));
    table_->apply(d);
    list_ = {{"marathon",
              {{"web", "web.1", {{"web.marathon.mesos.", "10.0.0.7", "A"}, {"_web._tcp.marathon.mesos.", "web.marathon.mesos.:31001", "SRV"}}, true},
               {"web", "web.2", {}, false},
               {long_name(), "x.1",
                {{long_name() + "-aaaaa-s0.marathon.mesos.", "10.0.0.9", "A"},
                 {"_x._tcp.marathon.mesos.", long_name() + "-aaaaa-s0.marathon.mesos.:80", "SRV"},
                 {"Raw_Name.marathon.mesos.", "10.0.0.9", "A"}},
                true}}},
             {"chronos <&>", {}}};
  }
  static std::string long_name() { return std::string(60, 'x'); }

  MesosDnsConfig config() override {
    calls++;
    return config_;
  }
  std::shared_ptr<const dns::Routes> routes() override {
    dns::ZoneView view;
    view.apex = DnsName::parse("mesos").value();
    view.table = table_;
    std::vector<dns::ZoneView> views{view};
    return std::make_shared<const dns::Routes>(std::move(views), std::vector<dns::ForwardGroup>{});
  }
  Epoch& epoch() override { return epoch_; }
  std::vector<MesosZone::FrameworkRecords> enumerate(bool) override {
    enumerations++;
    return list_;
  }
  bool raw_names() override { return true; }

  void add(const char* name, const char* address) {
    RecordDelta d;
    d.add.push_back(address_record(relative_name(name).value(), IpAddress::parse(address).value()));
    table_->apply(d);
  }

  MesosDnsConfig config_;
  std::vector<MesosZone::FrameworkRecords> list_;
  std::atomic<int> calls{0}, enumerations{0};

 private:
  Epoch epoch_;
  std::shared_ptr<dns::ZoneTable> table_;
};

}  // namespace ls::api
