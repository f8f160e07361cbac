#include "overlay/docker_keeper.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <optional>
#include <thread>

#include "util/guarded.h"
#include "util/log.h"

namespace ls::overlay {

DockerReport run_docker_pass(CommandRunner& runner, const DockerKeeperOptions& o, const DockerWanted& wanted) {
  DockerReport out;
  const DockerResult* silent = nullptr;
  out.networks.reserve(wanted.networks.size());  // `silent` points into it
  for (auto& n : wanted.networks) {
    if (silent) {
      auto same = *silent;
      same.name = n.name;
      same.failures = 0;
      out.networks.push_back(std::move(same));
      continue;
    }
    auto& r = out.networks.emplace_back(ensure_docker_network(runner, o.docker, n));
    out.failures += r.failures;
    if (r.state == DockerState::kNoDocker || r.state == DockerState::kNoAnswer) silent = &r;
  }
  out.retrying = std::any_of(out.networks.begin(), out.networks.end(), [](auto& r) { return wants_retry(r.state); });
  // Without Docker its chains may still be there, and drop what Mesos containers say.
  if (!wanted.filter.shares.empty()) {
    auto filter = ensure_docker_filter(runner, o.filter, wanted.filter);
    out.failures += filter.failures;
    out.repaired += filter.written;
    out.warnings = std::move(filter.warnings);
    if (filter.failures) out.retrying = true;
  }
  return out;
}

Millis next_docker_delay(const DockerKeeperOptions& o, const DockerReport& r, Millis last) {
  if (!r.retrying) return o.again;
  if (last.count() == 0) return o.retry_min;
  return std::min(last * 2, o.retry_max);
}

struct DockerKeeper::Impl {
  Impl(DockerKeeperOptions o, std::unique_ptr<CommandRunner> r, Report rep, UniqueFd w)
      : options(std::move(o)), runner(std::move(r)), report(std::move(rep)), wake(std::move(w)) {}

  DockerKeeperOptions options;
  std::unique_ptr<CommandRunner> runner;
  Report report;
  UniqueFd wake;  // eventfd; counts what there is to look at
  Guarded<std::optional<DockerWanted>> next;
  std::atomic<bool> stopping{false};
  std::optional<DockerWanted> last_said;  // of the owner's thread
  std::thread thread;

  void ring() {
    uint64_t one = 1;
    (void)!write(wake.get(), &one, sizeof one);
  }

  /// True: something was said. False: the delay is over.
  bool wait(std::optional<Millis> delay) {
    auto until = std::chrono::steady_clock::now() + delay.value_or(Millis(0));
    for (;;) {
      int left = -1;
      if (delay) left = int(std::max<int64_t>(0, std::chrono::ceil<Millis>(until - std::chrono::steady_clock::now()).count()));
      pollfd fd{wake.get(), POLLIN, 0};
      int n = poll(&fd, 1, left);
      if (n == 0) return false;
      if (n < 0) continue;
      uint64_t count;
      (void)!read(wake.get(), &count, sizeof count);
      return true;
    }
  }

  static void log_of(const DockerReport& now, const DockerReport& before) {
    for (size_t i = 0; i < now.networks.size(); i++) {
      auto& r = now.networks[i];
      auto* old = i < before.networks.size() && before.networks[i].name == r.name ? &before.networks[i] : nullptr;
      if (old && old->state == r.state && old->text == r.text) continue;
      if (r.state == DockerState::kConflict || r.state == DockerState::kFailed || r.state == DockerState::kNoAnswer)
        log::warn("docker_network", {{"overlay", r.name}, {"state", name_of(r.state)}, {"detail", r.text}});
      else
        log::info("docker_network", {{"overlay", r.name}, {"state", name_of(r.state)}});
    }
    if (now.warnings != before.warnings)
      for (auto& w : now.warnings) log::warn("docker_filter", {{"detail", w}});
  }

  void loop() {
    DockerWanted wanted;
    DockerReport before;
    Millis last{0};
    std::optional<Millis> delay;  // none: nothing is wanted
    while (!stopping) {
      if (wait(delay)) {
        if (auto fresh = next.with([](auto& n) { return std::exchange(n, std::nullopt); })) wanted = std::move(*fresh);
        last = Millis(0);
      }
      if (stopping) return;
      auto now = run_docker_pass(*runner, options, wanted);
      if (stopping) return;
      now.failures += before.failures;
      now.repaired += before.repaired;
      log_of(now, before);
      before = now;
      auto next_delay = next_docker_delay(options, now, last);
      last = now.retrying ? next_delay : Millis(0);
      delay = wanted.empty() ? std::nullopt : std::optional(next_delay);
      report(std::move(now));
    }
  }
};

DockerKeeper::DockerKeeper(DockerKeeperOptions options, std::unique_ptr<CommandRunner> runner, Report report)
    : impl_(std::make_unique<Impl>(std::move(options), std::move(runner), std::move(report), UniqueFd(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)))) {
  // Signals are the main thread's: this one must not take them away from it.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  impl_->thread = std::thread([impl = impl_.get()] { impl->loop(); });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

Result<std::unique_ptr<DockerKeeper>> DockerKeeper::make(DockerKeeperOptions options, Report report) {
  LS_ASSIGN(auto runner, ProcessRunner::make());
  return std::make_unique<DockerKeeper>(std::move(options), std::make_unique<ProcessRunner>(std::move(runner)), std::move(report));
}

DockerKeeper::~DockerKeeper() {
  impl_->stopping = true;
  impl_->runner->stop();
  impl_->ring();
  impl_->thread.join();
}

void DockerKeeper::want(DockerWanted w) {
  if (impl_->last_said == w) return;
  impl_->last_said = w;
  impl_->next.with([&](auto& n) { n = std::move(w); });
  impl_->ring();
}

void DockerKeeper::look_again() { impl_->ring(); }

}  // namespace ls::overlay
