#include "whole.h"

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <stdexcept>
#include <thread>
#include <vector>

namespace ls::converge {

namespace {

struct Agent : HubSink {
  Agent(WholeAgents& owner, const Stamps& s) : all(owner), stamps(s) {}

  void on_connected(const SourceInfo&) override {}
  void on_snapshot(hub::Image image) override {
    hub::Position at{source->run(), image.seq};
    for (auto& e : hub::events_of(std::move(image), kDefaultHeartbeat)) state.apply(std::move(e), std::chrono::steady_clock::now());
    source->applied(at);
    snapshots++;
  }
  void on_changes(hub::Changes c) override {
    hub::Position at{source->run(), c.last};
    const auto first = c.first;
    for (auto& e : hub::events_of(std::move(c))) state.apply(std::move(e), std::chrono::steady_clock::now());
    if (all.measuring) stamps.count(all.lags, first, at.seq, now_us());
    source->applied(at);
  }
  void on_health(const hub::SourceHealth&) override {}
  void on_disconnected(const Error&) override { lost++; }

  WholeAgents& all;
  const Stamps& stamps;
  ClusterState state;
  std::atomic<size_t> snapshots{0}, lost{0};
  std::unique_ptr<HubSource> source;
};

}  // namespace

struct WholeAgents::Impl {
  boost::asio::io_context io{1};
  std::vector<std::unique_ptr<Agent>> agents;
  std::thread thread;
};

WholeAgents::WholeAgents(size_t agents, const HubConfig& config, const Stamps& stamps) : impl_(std::make_unique<Impl>()) {
  for (size_t i = 0; i < agents; i++) {
    auto& a = *impl_->agents.emplace_back(std::make_unique<Agent>(*this, stamps));
    auto c = config;
    c.node = "whole-" + std::to_string(i);
    auto made = make_hub_source(impl_->io, c, a);
    if (!made) throw std::runtime_error(made.error().text());
    a.source = std::move(*made);
    a.source->start();
  }
  impl_->thread = std::thread([this] {
    auto more = boost::asio::make_work_guard(impl_->io);
    impl_->io.run();
  });
}

WholeAgents::~WholeAgents() { end(); }

bool WholeAgents::in_sync() const {
  for (auto& a : impl_->agents)
    if (!a->snapshots) return false;
  return true;
}

size_t WholeAgents::faults() const {
  size_t n = 0;
  for (auto& a : impl_->agents) n += a->lost;
  return n;
}

bool WholeAgents::all_have(size_t tasks) const {
  for (auto& a : impl_->agents)
    if (a->state.task_count() != tasks) return false;
  return true;
}

void WholeAgents::end() {
  if (!impl_->thread.joinable()) return;
  impl_->io.stop();
  impl_->thread.join();
  for (auto& a : impl_->agents) a->source.reset();
}

}  // namespace ls::converge
