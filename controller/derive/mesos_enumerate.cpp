// What the Mesos zone lists for people and for /v1/enumerate: texts, in the order of the state, on the caller's thread.
#include <algorithm>
#include <unordered_map>
#include <utility>

#include "derive/dcos_zone.h"
#include "derive/fold.h"
#include "derive/mesos_zone_impl.h"

namespace ls {
namespace {

using namespace mesos;

/// A pointer's worth of each task; everything else is made from it without the control loop.
struct Listed {
  uint64_t order;
  const FrameworkEntry* framework;  ///< a key only
  TaskPtr task;
  AddressList agent;
};

class TextOut {
 public:
  TextOut(std::string_view fragment, std::string_view domain, bool all, MesosZone::TaskRecords& out,
          const std::function<bool(const MesosZone::TaskRecords::Entry&)>& fresh)
      : plain_("." + std::string(fragment) + "." + std::string(domain) + "."),
        slave_("." + std::string(fragment) + ".slave." + std::string(domain) + "."),
        fragment_(fragment),
        all_(all),
        out_(out),
        fresh_(fresh) {}

  bool begin(std::string_view n, std::string_view c, bool raw) {
    if (!all_ && (fragment_.empty() || (raw && !askable(n)))) return false;
    n_ = n;
    c_ = c;
    s_ = "_" + n_;
    return true;
  }
  void address(const AddressRow& row, const IpAddress& a) {
    add((row.canonical ? c_ : n_) + (row.slave ? slave_ : plain_), a.text(), a.is_v4() ? "A" : "AAAA", {});
  }
  void srv(const SrvRow& row) {
    std::string owner;
    if (!row.port_name.empty()) owner = "_" + std::string(row.port_name) + ".";
    owner += s_ + "._" + std::string(row.protocol) + (row.owner_slave ? slave_ : plain_);
    std::string target = c_ + (row.target_slave ? slave_ : plain_);
    std::string host = target + ":" + std::to_string(row.port);
    add(std::move(owner), std::move(host), "SRV", target);
  }
  void problem(const std::string&, const std::string&) {}

 private:
  /// True for an absolute name that fits into a message.
  static bool fits(std::string_view name) {
    std::string wire;
    name.remove_suffix(1);
    return append_wire(wire, name) && wire.size() < DnsName::kMaxWire;
  }
  void add(std::string owner, std::string host, const char* type, std::string_view target) {
    if (!all_ && !(askable(owner) && fits(owner) && (target.empty() || fits(target)))) return;
    MesosZone::TaskRecords::Entry entry{std::move(owner), std::move(host), type};
    if (fresh_(entry)) out_.records.push_back(std::move(entry));
  }

  const std::string plain_, slave_;
  const std::string_view fragment_;
  const bool all_;
  MesosZone::TaskRecords& out_;
  const std::function<bool(const MesosZone::TaskRecords::Entry&)>& fresh_;
  std::string n_, c_, s_;
};

MesosZone::TaskRecords::Entry entry_of(const Record& r, std::string_view domain) {
  auto absolute = [&](std::string_view relative) {
    return relative_text(relative) + (relative.empty() ? "" : ".") + std::string(domain) + ".";
  };
  MesosZone::TaskRecords::Entry out{absolute(r.owner), "", to_text(r.type)};
  const auto* bytes = reinterpret_cast<const uint8_t*>(r.rdata.data());
  if (r.type == RrType::kSrv) {
    out.host = absolute(std::string_view(r.rdata).substr(6, r.rdata.size() - 7)) + ":" + std::to_string(bytes[4] << 8 | bytes[5]);
  } else if (r.type == RrType::kA) {
    out.host = IpAddress::from_v4(uint32_t(bytes[0]) << 24 | uint32_t(bytes[1]) << 16 | uint32_t(bytes[2]) << 8 | bytes[3]).text();
  } else {
    out.host = IpAddress::from_bytes(bytes).text();
  }
  return out;
}

}  // namespace

std::vector<MesosZone::FrameworkRecords> MesosZone::enumerate(std::string_view domain, bool raw_names) const {
  const MesosZoneOptions& o = impl_->options;
  struct ListedFramework {
    uint64_t order;
    const FrameworkEntry* key;
    std::string name;
    bool known;
  };
  std::vector<Listed> tasks;
  std::vector<ListedFramework> frameworks;
  std::vector<Record> others;  // inserted before any task's, so a task does not add them (section 8)
  impl_->roster.with([&](Roster& r) {
    tasks.reserve(r.tasks.size());
    for (auto& e : r.tasks)
      if (counts(*e->task, e->agent->present, o)) tasks.push_back({e->order, e->framework, e->task, e->agent->place.addresses});
    for (auto& [id, f] : r.frameworks) {
      frameworks.push_back({f->order, f.get(), f->name, f->known});
      for (auto& record : framework_records(*f, o)) others.push_back(std::move(record));
    }
    for (auto& [id, a] : r.agents)
      for (auto& record : agent_records(*a, o)) others.push_back(std::move(record));
    for (auto* list : {&r.own_records, &r.master_records}) others.insert(others.end(), list->begin(), list->end());
  });
  std::sort(tasks.begin(), tasks.end(), [](auto& a, auto& b) { return a.order < b.order; });
  std::sort(frameworks.begin(), frameworks.end(), [](auto& a, auto& b) { return a.order < b.order; });

  // 64 keyed bits a record: with a million records two are taken for one once in ten million lists.
  std::unordered_set<uint64_t> seen;
  seen.reserve(others.size() + tasks.size() * 16);
  const uint64_t key = random_key();
  const std::function<bool(const TaskRecords::Entry&)> fresh = [&](const TaskRecords::Entry& e) {
    return seen.insert(name_hash(e.type + " " + e.name + " " + e.host, key)).second;
  };
  for (auto& record : others) fresh(entry_of(record, domain));

  std::unordered_map<const FrameworkEntry*, std::vector<const Listed*>> by_framework;
  for (auto& t : tasks) by_framework[t.framework].push_back(&t);
  std::vector<FrameworkRecords> out;
  for (auto& f : frameworks) {
    auto& own = by_framework[f.key];
    if (!f.known && own.empty()) continue;
    FrameworkRecords listed{f.name, {}};
    SharedText name;
    std::string fragment;
    for (const Listed* t : own) {
      if (name != t->task->framework_name || name.empty()) {
        name = t->task->framework_name;
        fragment = mesos_domain_fragment(name.view(), o.rfc952);
      }
      TaskRecords records{t->task->spec->own_name(), t->task->id, {}, true};
      TextOut text(fragment, domain, raw_names, records, fresh);
      task_rows(*t->task, *t->agent, o, text);
      records.added_any = !records.records.empty();
      listed.tasks.push_back(std::move(records));
    }
    out.push_back(std::move(listed));
  }
  return out;
}

std::vector<std::string> MesosZone::origins(std::string_view owner) const {
  constexpr size_t kMost = 1000;
  const MesosZoneOptions& o = impl_->options;
  std::vector<std::string> out;
  std::vector<Listed> tasks;
  auto makes = [&](const std::vector<Record>& records) {
    return std::any_of(records.begin(), records.end(), [&](auto& r) { return r.owner == owner; });
  };
  impl_->roster.with([&](Roster& r) {
    for (auto& [id, f] : r.frameworks)
      if (out.size() < kMost && makes(framework_records(*f, o)))
        out.push_back("framework " + f->name + " (" + f->id + "): " +
                      (f->place.port ? "address of its scheduler, rule F" : "address of its host name, rule F"));
    for (auto& [id, a] : r.agents)
      if (out.size() < kMost && makes(agent_records(*a, o))) out.push_back("agent " + a->id + ": rule G");
    if (makes(r.own_records)) out.push_back("this server's own addresses: rule S");
    if (makes(r.master_records)) out.push_back("the leader and the list of masters: rule M");
    for (auto& e : r.tasks) {
      if (!counts(*e->task, e->agent->present, o)) continue;
      // Most tasks are of other frameworks; their names cannot end like this one.
      const FrameworkNames& names = e->framework->names;
      const bool stale = e->framework->names_of != e->task->framework_name;
      if (stale || owner.ends_with(names.plain) || owner.ends_with(names.slave))
        tasks.push_back({e->order, e->framework, e->task, e->agent->place.addresses});
    }
  });
  std::sort(tasks.begin(), tasks.end(), [](auto& a, auto& b) { return a.order < b.order; });
  for (auto& t : tasks) {
    if (out.size() >= kMost) break;
    TaskRecordList list;
    task_records(*t.task, *t.agent, FrameworkNames(t.task->framework_name.view(), o.rfc952), o, list, nullptr, true);
    std::set<int> rows;
    for (size_t i = 0; i < list.records.size(); i++)
      if (list.records[i].owner == owner) rows.insert(list.rows[i]);
    if (rows.empty()) continue;
    std::string text = "task " + t.task->id + " of " + t.task->framework_name.str() + ": " +
                       (t.task->spec->discovered ? "discovery name " : "name ") + t.task->spec->name + ", row";
    for (int row : rows) text += " " + std::to_string(row);
    out.push_back(std::move(text));
  }
  return out;
}

std::vector<std::string> MesosZone::dcos_origins(std::string_view owner) const {
  constexpr size_t kMost = 1000;
  std::vector<TaskPtr> tasks;
  impl_->roster.with([&](Roster& r) {
    tasks.reserve(r.tasks.size());
    for (auto& e : r.tasks) tasks.push_back(e->task);
  });
  const std::string name = relative_text(owner);
  const std::string_view kind = std::string_view(name).substr(name.rfind('.') + 1);
  std::vector<std::string> out;
  for (auto& t : tasks) {
    if (out.size() >= kMost) break;
    // Most tasks have other names, and their records need not be made.
    if (!name.starts_with(fold_label(t->spec->name) + ".")) continue;
    auto records = dcos_task_records(*t);
    if (std::any_of(records.begin(), records.end(), [&](auto& r) { return r.owner == owner; }))
      out.push_back("task " + t->id + " of " + t->framework_name.str() + ": " + std::string(kind));
  }
  std::sort(out.begin(), out.end());
  return out;
}

}  // namespace ls
