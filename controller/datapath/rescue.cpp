#include "datapath/rescue.h"

#include <fmt/format.h>

#include "bpf/link.h"
#include "bpf/pin.h"
#include "datapath/device_hook.h"
#include "datapath/map_set.h"
#include "netlink/links.h"

namespace ls::datapath {
namespace {

class Purge {
 public:
  explicit Purge(std::string pin) : pin_(std::move(pin)) {}

  /// Programs first, so that no packet meets tables that are half gone.
  PurgeReport run() {
    filters_only_ = bpf::exists(pin_) && !bpf::require_bpffs(pin_);
    if (filters_only_) report_.problems.push_back(pin_ + " is on no bpffs, nothing in it was touched");
    UniqueFd lock;
    if (!filters_only_ && bpf::exists(pin_)) {
      // A daemon that runs would make again what is removed here.
      auto taken = bpf::lock_pin_dir(pin_);
      if (!taken) {
        report_.refused = true;
        report_.problems.push_back(taken.error().text());
        return std::move(report_);
      }
      lock = std::move(*taken);
    }
    if (!filters_only_) links();
    filters();
    if (filters_only_) return std::move(report_);
    for (auto& dir : map_folders(pin_)) folder(dir);
    folder(pin_ + "/links");
    folder(pin_ + "/clsact");
    last_folder();
    return std::move(report_);
  }

 private:
  void note(Result<> r, std::string what) {
    if (r) {
      report_.removed.push_back(std::move(what));
    } else {
      report_.problems.push_back(r.error().text());
    }
  }

  void links() {
    auto dir = pin_ + "/links";
    auto names = bpf::list_pins(dir);
    if (!names) {
      report_.problems.push_back(names.error().text());
      return;
    }
    for (auto& name : *names) {
      auto path = dir + "/" + name;
      std::string what = "pin " + path;
      if (auto link = bpf::Link::open_pinned(path)) {
        auto info = link->info();
        // Detached, not only unpinned: somebody else may hold a descriptor. Fails when the device is gone,
        // which is fine.
        if (info && info->attached() && link->detach()) {
          what = fmt::format("link {} (program {})", path, info->program_id);
        }
      }
      note(bpf::unpin(path), std::move(what));
    }
  }

  void filters() {
    auto devices = netlink::list_devices();
    if (!devices) {
      report_.problems.push_back(devices.error().text());
      return;
    }
    for (auto& d : *devices) {
      auto n = remove_clsact_filters(pin_, d.ifindex, d.name, {});
      if (!n) report_.problems.push_back(n.error().text());
      if (n && *n) report_.removed.push_back(fmt::format("{} filters of {}", *n, d.name));
    }
  }

  void folder(const std::string& dir) {
    if (bpf::exists(dir)) note(bpf::remove_pin_dir(dir), "folder " + dir);
  }

  void last_folder() {
    if (!bpf::exists(pin_)) return;
    auto left = bpf::list_pins(pin_);
    if (left && left->empty()) {
      folder(pin_);
    } else if (left) {
      report_.problems.push_back(
          fmt::format("{} stays: it holds {}, which is not ours", pin_, fmt::join(*left, ", ")));
    } else {
      report_.problems.push_back(left.error().text());
    }
  }

  std::string pin_;
  bool filters_only_ = false;
  PurgeReport report_;
};

}  // namespace

PurgeReport purge(const std::string& pin) {
  return Purge(pin).run();
}

}  // namespace ls::datapath
