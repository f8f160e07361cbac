#pragma once
/// The tables of the maps as the mirror of the zones sees them: what app/dns_kernel.cpp puts between them.
#include "datapath/dns_tables.h"
#include "dns/kernel_mirror.h"

namespace dk {

class Store final : public ls::dns::KernelStore {
 public:
  explicit Store(ls::datapath::DnsTables tables) : tables_(std::move(tables)) {}
  bool put(const ls::dns::KernelKey& k, uint8_t flags, uint8_t sets, std::span<const uint8_t> body) override {
    return tables_.put({k.space, k.aux, k.key}, flags, sets, body);
  }
  bool remove(const ls::dns::KernelKey& k) override { return tables_.remove({k.space, k.aux, k.key}); }
  bool contains(const ls::dns::KernelKey& k) const override { return !tables_.find({k.space, k.aux, k.key}).empty(); }
  uint64_t hash(const ls::dns::KernelKey& k) const override { return tables_.hash({k.space, k.aux, k.key}); }
  size_t sweep(uint32_t space) override { return tables_.sweep(space); }
  size_t sweep_all() override { return 0; }  // nobody was here before
  void mark() override { tables_.mark(); }
  const ls::datapath::DnsTables& tables() const { return tables_; }

 private:
  ls::datapath::DnsTables tables_;
};

}  // namespace dk
