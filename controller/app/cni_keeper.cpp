#include "app/cni_keeper.h"

#include <fmt/format.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "cni/keeper.h"
#include "util/log.h"
#include "util/worker.h"

namespace ls {

namespace asio = boost::asio;

namespace {

constexpr auto kRound = std::chrono::minutes(5);

struct Done {
  std::string restore_problem, orphan_problem;
  bool restored = true;
};

struct Job {
  std::filesystem::path data_dir;
  std::string pin;
  std::vector<std::filesystem::path> roots;
  bool restore = false;
};

/// What the plugin would say, in one line.
std::string text_of(const cni::Failure& f) { return f.details.empty() ? f.msg : f.msg + ": " + f.details; }

Done run(const Job& job) {
  Done out;
  if (job.restore) {
    auto r = cni::restore_entries(job.data_dir, job.pin);
    if (!r) {
      out.restore_problem = text_of(r.error());
    } else if (r->problems) {
      out.restore_problem = fmt::format("{} of {} attachments: {}", r->problems, r->attachments, r->first_problem);
    } else if (r->attachments) {
      log::info("cni_entries_restored", {{"attachments", r->attachments}});
    }
    out.restored = out.restore_problem.empty();
  }
  if (job.roots.empty()) return out;
  auto networks = cni::list_networks(job.data_dir);
  if (!networks) {
    out.orphan_problem = text_of(networks.error());
    return out;
  }
  for (auto& network : *networks) {
    auto c = cni::collect_orphans({job.data_dir, network, job.roots, job.pin});
    if (c && c->removed) log::info("cni_orphans_removed", {{"network", network}, {"removed", c->removed}, {"kept", c->kept}});
    if (!c) out.orphan_problem = text_of(c.error());
    else if (c->problems) out.orphan_problem = fmt::format("{}: {}", network, c->first_problem);
  }
  return out;
}

}  // namespace

struct CniKeeper::Impl : std::enable_shared_from_this<Impl> {
  Impl(asio::io_context& i, const Config& c) : io(i), config(c), timer(i) {}

  void round() {
    Job job;
    job.data_dir = config.overlay.cni_data_dir.empty() ? cni::OrphanSearch{}.data_dir : config.overlay.cni_data_dir;
    job.pin = config.bpf.pin.string();
    for (auto& root : config.overlay.mesos_roots) job.roots.emplace_back(root);
    job.restore = restore;
    worker->post([&loop = io, weak = weak_from_this(), job = std::move(job)] {
      asio::post(loop, [weak, done = run(job)] {
        if (auto self = weak.lock(); self && self->worker) self->take(done);
      });
    });
  }
  void take(const Done& done) {
    if (!done.restore_problem.empty()) log::warn("cni_entries_not_restored", {{"error", done.restore_problem}});
    if (!done.orphan_problem.empty() && done.orphan_problem != last.orphan_problem) log::warn("cni_orphans", {{"error", done.orphan_problem}});
    restore = !done.restored;
    last = done;
    if (!restore && config.overlay.mesos_roots.empty()) return;
    timer.expires_after(kRound);
    timer.async_wait([self = shared_from_this()](boost::system::error_code ec) {
      if (!ec && self->worker) self->round();
    });
  }

  asio::io_context& io;
  const Config& config;
  asio::steady_timer timer;
  std::unique_ptr<Worker> worker;
  bool restore = true;  ///< still to be done
  Done last;
};

CniKeeper::CniKeeper(asio::io_context& io, const Config& config) : impl_(std::make_shared<Impl>(io, config)) {}
CniKeeper::~CniKeeper() { stop(); }

void CniKeeper::start() {
  if (impl_->worker) return;
  if (geteuid() != 0) {
    if (!impl_->config.overlay.mesos_roots.empty()) impl_->last.orphan_problem = "the plugin's files are root's, and this daemon is not";
    return;
  }
  impl_->worker = std::make_unique<Worker>();
  impl_->round();
}

void CniKeeper::stop() {
  impl_->worker.reset();
  impl_->timer.cancel();
}

std::vector<std::string> CniKeeper::warnings() const {
  std::vector<std::string> out;
  if (!impl_->last.restore_problem.empty()) out.push_back("host ports or shortcuts of containers are missing: " + impl_->last.restore_problem);
  if (!impl_->last.orphan_problem.empty()) out.push_back("attachments of containers that are gone could not be looked for: " + impl_->last.orphan_problem);
  return out;
}

}  // namespace ls
