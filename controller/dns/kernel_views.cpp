#include "dns/kernel_views.h"

#include <algorithm>

namespace ls::dns {
namespace {

/// `name` is `suffix` or lies below it.
bool below(std::string_view name, std::string_view suffix) {
  if (!name.ends_with(suffix)) return false;
  size_t at = 0;
  while (at < name.size() - suffix.size()) at += static_cast<uint8_t>(name[at]) + size_t{1};
  return at == name.size() - suffix.size();
}

}  // namespace

void KernelViews::set(const std::string& suffix, const KernelBody& body) {
  Suffix& s = suffixes_[suffix];
  if (s.put && s.wanted == body.octets) return;
  s.wanted = body.octets;
  s.put = false;
}

void KernelViews::keep(const std::string& suffix) {
  Suffix& s = suffixes_[suffix];
  s.put = s.there = true;
}

bool KernelViews::foreign(const std::string& suffix) const {
  const auto at = suffixes_.find(suffix);
  if (at != suffixes_.end() && !(at->second.there && at->second.wanted.empty())) return false;
  return store_.contains(key(suffix));
}

void KernelViews::retain(const std::set<std::string>& suffixes) {
  for (auto at = suffixes_.begin(); at != suffixes_.end();) {
    if (suffixes.contains(at->first)) {
      ++at;
      continue;
    }
    store_.remove(key(at->first));
    at = suffixes_.erase(at);
  }
}

void KernelViews::sync() {
  std::vector<std::string_view> failed;
  const auto above_failed = [&](const std::string& suffix) {
    return std::any_of(failed.begin(), failed.end(), [&](std::string_view f) { return below(f, suffix); });
  };
  for (auto& [suffix, s] : suffixes_) {
    if (above_failed(suffix)) {
      s.put = false;
      continue;
    }
    if (s.put) continue;
    // One that was kept and had to go has nothing to be put until it is set.
    s.put = !s.wanted.empty() && store_.put(key(suffix), 0, 0, s.wanted);
    if (s.put) s.there = true;
    else failed.push_back(suffix);
  }
  if (failed.empty()) return;
  for (auto at = suffixes_.rbegin(); at != suffixes_.rend(); ++at) {
    if (!at->second.there || !above_failed(at->first)) continue;
    store_.remove(key(at->first));
    at->second.there = false;
  }
}

size_t KernelViews::size() const {
  return static_cast<size_t>(std::count_if(suffixes_.begin(), suffixes_.end(), [](const auto& s) { return s.second.there; }));
}

}  // namespace ls::dns
