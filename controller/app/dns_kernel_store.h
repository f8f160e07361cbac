#pragma once
/// DnsKernelStore: the mirror knows names, the tables know maps; this is all that lies between. Also keeps ls_dns_service.view, the short
/// way to views. Thread: control loop. Cost: that of the tables; a sweep reads all entries once more.
#include <array>
#include <atomic>
#include <set>
#include <string>

#include "bpf/mmap_array.h"
#include "datapath/dns_tables.h"
#include "dns/kernel_store.h"

namespace ls {

class DnsKernelStore final : public dns::KernelStore {
 public:
  DnsKernelStore(datapath::DnsTables& tables, MmapArray<ls_dns_conf>& conf) : tables_(tables), conf_(conf) { read_views(); }
  bool put(const dns::KernelKey& k, uint8_t flags, uint8_t sets, std::span<const uint8_t> body) override {
    if (!is_view(k.space)) return tables_.put(key(k), flags, sets, body);
    hide_place(k);
    bool done = tables_.put(key(k), flags, sets, body);
    if (done) of_length(k).emplace(k.key);
    show_place(k.space - LS_DNS_SPACE_VIEW, k.key.size());
    return done;
  }
  bool remove(const dns::KernelKey& k) override {
    if (!is_view(k.space)) return tables_.remove(key(k));
    hide_place(k);
    bool there = tables_.remove(key(k));
    of_length(k).erase(std::string(k.key));
    show_place(k.space - LS_DNS_SPACE_VIEW, k.key.size());
    return there;
  }
  bool contains(const dns::KernelKey& k) const override { return !tables_.find(key(k)).empty(); }
  uint64_t hash(const dns::KernelKey& k) const override { return tables_.hash(key(k)); }
  size_t sweep(uint32_t space) override { return swept([&] { return tables_.sweep(space); }); }
  size_t sweep_all() override { return swept([&] { return tables_.sweep_all(); }); }
  void mark() override { tables_.mark(); }

 private:
  static datapath::DnsTables::Key key(const dns::KernelKey& k) { return {k.space, k.aux, k.key}; }
  static bool is_view(uint32_t space) { return space >= LS_DNS_SPACE_VIEW && space < LS_DNS_SPACE_VIEW + LS_DNS_SERVICES; }
  std::set<std::string>& of_length(const dns::KernelKey& k) { return views_[k.space - LS_DNS_SPACE_VIEW][k.key.size()]; }

  // ls_dns_service.view is a short way to the only view of a length. It must never lead to a view that is no more, also not when the
  // daemon is killed between two stores: so it is closed before a change and opened after it.
  void set_place(uint32_t service, size_t octets, uint32_t place) {
    std::atomic_ref(conf_.edit(0, 1)[0].service[service].view[octets]).store(place, std::memory_order_release);
  }
  void hide_place(const dns::KernelKey& k) { set_place(k.space - LS_DNS_SPACE_VIEW, k.key.size(), 0); }
  void show_place(uint32_t service, size_t octets) {
    auto& names = views_[service][octets];
    set_place(service, octets, names.size() == 1 ? tables_.place({LS_DNS_SPACE_VIEW + service, 0, *names.begin()}) : 0);
  }
  template <class Sweep>
  size_t swept(Sweep sweep) {
    for (uint32_t service = 0; service < LS_DNS_SERVICES; service++)
      for (size_t octets = 0; octets <= LS_DNS_KEY_MAX; octets++) set_place(service, octets, 0);
    size_t gone = sweep();
    read_views();
    return gone;
  }
  void read_views() {
    views_ = {};
    tables_.for_each([this](const ls_dns_entry& e, std::string_view name) {
      if (is_view(e.space)) views_[e.space - LS_DNS_SPACE_VIEW][name.size()].emplace(name);
    });
    for (uint32_t service = 0; service < LS_DNS_SERVICES; service++)
      for (size_t octets = 0; octets <= LS_DNS_KEY_MAX; octets++) show_place(service, octets);
  }
  datapath::DnsTables& tables_;
  MmapArray<ls_dns_conf>& conf_;
  std::array<std::array<std::set<std::string>, LS_DNS_KEY_MAX + 1>, LS_DNS_SERVICES> views_;
};

}  // namespace ls
