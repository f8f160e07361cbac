#include "derive/mesos_zone.h"

#include <algorithm>
#include <utility>

#include "derive/dcos_zone.h"
#include "derive/mesos_zone_impl.h"

namespace ls {
namespace mesos {
namespace {

const AddressList& no_addresses() {
  static const AddressList none = std::make_shared<const std::vector<IpAddress>>();
  return none;
}

std::string folded(std::string_view host) {
  std::string out(host);
  if (out.ends_with('.')) out.pop_back();
  for (char& c : out)
    if (c >= 'A' && c <= 'Z') c = char(c | 0x20);
  return out;
}

std::vector<IpAddress> addresses_of(std::string_view host, const MesosZoneOptions& o) {
  if (host.empty()) return {};
  if (auto literal = IpAddress::parse(host)) return {*literal};
  return o.lookup ? distinct(o.lookup(folded(host))) : std::vector<IpAddress>{};
}

/// Shares the former list when nothing changed.
AddressList list_of(std::vector<IpAddress> addresses, const AddressList& former) {
  if (former && *former == addresses) return former;
  if (addresses.empty()) return no_addresses();
  return std::make_shared<const std::vector<IpAddress>>(std::move(addresses));
}

Place place_of(std::string_view host, uint16_t port, const Place& former, const MesosZoneOptions& o) {
  Place p;
  p.host = folded(host);
  p.port = port;
  p.addresses = list_of(addresses_of(host, o), former.addresses);
  return p;
}

const FrameworkNames& names_of(TaskEntry& e, const MesosZoneOptions& o) {
  FrameworkEntry& f = *e.framework;
  if (f.names_of != e.task->framework_name || f.names_of.empty()) {
    f.names = FrameworkNames(e.task->framework_name.view(), o.rfc952);
    f.names_of = e.task->framework_name;
  }
  return f.names;
}

}  // namespace

std::vector<Record> framework_records(const FrameworkEntry& f, const MesosZoneOptions& o) {
  std::vector<Record> out;
  if (!f.known || f.place.addresses->empty()) return out;
  const FrameworkNames names(f.name, o.rfc952);
  if (names.plain.empty() || names.plain.size() >= DnsName::kMaxWire) return out;
  if (!(o.protect_reserved && reserved(names.fragment, o)))
    for (auto& a : *f.place.addresses) out.push_back(address_record(names.plain, a));
  if (f.place.port) {
    std::string owner = relative_name("_framework._tcp").value() + names.plain;
    if (owner.size() < DnsName::kMaxWire) out.push_back(srv_record(std::move(owner), 0, o.srv_weight, f.place.port, names.plain));
  }
  return out;
}

std::vector<Record> agent_records(const AgentEntry& a, const MesosZoneOptions& o) {
  std::vector<Record> out;
  if (!a.present) return out;
  static const std::string owner = relative_name("slave").value(), service = relative_name("_slave._tcp").value();
  for (auto& address : *a.place.addresses) out.push_back(address_record(owner, address));
  if (a.place.port && !a.place.addresses->empty())
    out.push_back(srv_record(service, 0, o.srv_weight, a.place.port, owner));
  return out;
}

bool reserved(std::string_view fragment, const MesosZoneOptions& o) {
  if (fragment == "leader" || fragment == "slave" || (!o.server_name.empty() && fragment == folded(o.server_name))) return true;
  if (!fragment.starts_with("master")) return false;
  return fragment.find_first_not_of("0123456789", 6) == fragment.npos;
}

FrameworkEntry& Roster::framework(std::string_view id) {
  auto& slot = frameworks[std::string(id)];
  if (!slot) {
    slot = std::make_unique<FrameworkEntry>();
    slot->id = id;
    slot->order = next_order++;
    slot->place.addresses = no_addresses();
  }
  return *slot;
}

AgentEntry& Roster::agent(std::string_view id) {
  auto& slot = agents[std::string(id)];
  if (!slot) {
    slot = std::make_unique<AgentEntry>();
    slot->id = id;
    slot->place.addresses = no_addresses();
  }
  return *slot;
}

TaskEntry* Roster::find(const Task& t) const {
  auto it = tasks.find(key_of(t));
  return it == tasks.end() ? nullptr : it->get();
}

void Roster::drop_if_unused(AgentEntry& a) {
  if (!a.present && a.tasks.empty()) agents.erase(std::string(a.id));
}

void Roster::drop_if_unused(FrameworkEntry& f) {
  if (!f.known && f.tasks == 0) frameworks.erase(std::string(f.id));
}

}  // namespace mesos

using namespace mesos;

struct MesosZone::Impl::Work {
  const MesosZoneOptions& o;
  Roster& r;
  RecordDelta out;
  const Take* take = nullptr;  ///< null: everything is kept in `out`

  /// Between two changes: what is to be removed waits, so that nothing goes that comes again in a later piece.
  void give_piece() {
    constexpr size_t kPiece = 4096;
    if (!take || out.add.size() < kPiece) return;
    (*take)({std::move(out.add), {}});
    out.add.clear();
    out.add.reserve(kPiece + kPiece / 8);
  }
  void all(const StateDelta& delta) {
    for (auto& f : delta.frameworks) framework(r.framework(f.framework.id.view()), f), give_piece();
    for (auto& a : delta.agents) agent(r.agent(a.agent.id.view()), a), give_piece();
    for (auto& t : delta.tasks) task(t), give_piece();
  }

  /// `add` or `remove` gets what the entry's task makes now.
  void task_records_of(TaskEntry& e, std::vector<Record>& into) {
    if (!counts(*e.task, e.agent->present, o)) return;
    TaskRecordList list;
    list.records = std::move(into);
    task_records(*e.task, *e.agent->place.addresses, names_of(e, o), o, list, nullptr);
    into = std::move(list.records);
    if (list.trouble) {
      r.troubled.insert(&e);
    } else if (!r.troubled.empty()) {
      r.troubled.erase(&e);
    }
  }
  void change(std::vector<Record>&& before, std::vector<Record>&& after) {
    if (before.empty()) {
      std::move(after.begin(), after.end(), std::back_inserter(out.add));
      return;
    }
    if (after.empty()) {
      std::move(before.begin(), before.end(), std::back_inserter(out.remove));
      return;
    }
    RecordDelta d = difference(std::move(before), std::move(after));
    std::move(d.add.begin(), d.add.end(), std::back_inserter(out.add));
    std::move(d.remove.begin(), d.remove.end(), std::back_inserter(out.remove));
  }

  void framework(FrameworkEntry& f, const FrameworkChange& c) {
    std::vector<Record> before = framework_records(f, o);
    f.known = !c.removed;
    f.name = c.framework.name.view();
    f.bad_pid = false;
    if (c.framework.pid.empty()) {
      f.place = place_of(c.framework.hostname, 0, f.place, o);
    } else if (auto host = host_of_pid(c.framework.pid)) {
      f.place = place_of(host->host, host->port, f.place, o);
    } else {
      f.place = place_of("", 0, f.place, o);
      f.bad_pid = true;
    }
    change(std::move(before), framework_records(f, o));
    r.drop_if_unused(f);
  }

  /// Runs `then`, which changes the agent, and republishes what hangs on it.
  template <class Then>
  void with_agent(AgentEntry& a, Then&& then) {
    std::vector<Record> before = agent_records(a, o);
    const bool present = a.present;
    const AddressList addresses = a.place.addresses;
    std::vector<std::vector<Record>> tasks(a.tasks.size());
    // What the tasks made is told from what they make now only by the agent, so it has to be made before.
    for (size_t i = 0; i < tasks.size(); i++) task_records_of(*a.tasks[i], tasks[i]);
    then();
    change(std::move(before), agent_records(a, o));
    if (a.present == present && *a.place.addresses == *addresses) return;
    for (size_t i = 0; i < tasks.size(); i++) {
      std::vector<Record> after;
      task_records_of(*a.tasks[i], after);
      if (after.empty()) r.troubled.erase(a.tasks[i]);
      change(std::move(tasks[i]), std::move(after));
    }
  }
  void agent(AgentEntry& a, const AgentChange& c) {
    auto host = host_of_pid(c.agent.pid);
    Place place = host ? place_of(host->host, host->port, a.place, o) : place_of(c.agent.hostname, 0, a.place, o);
    const bool same = a.present == !c.removed && *place.addresses == *a.place.addresses;
    auto set = [&] {
      a.place = std::move(place);
      a.present = !c.removed;
    };
    if (same) {
      std::vector<Record> before = agent_records(a, o);
      set();
      change(std::move(before), agent_records(a, o));
    } else {
      with_agent(a, set);
    }
    r.drop_if_unused(a);
  }

  void task(const TaskChange& c) {
    TaskEntry* e = r.find(*c.after);
    std::vector<Record> before, after;
    if (!e) {
      if (c.removed) return;
      auto fresh = std::make_unique<TaskEntry>();
      e = fresh.get();
      e->task = c.after;
      e->framework = &r.framework(c.after->framework_id.view());
      e->framework->tasks++;
      e->order = r.next_order++;
      link(*e);
      r.tasks.insert(std::move(fresh));
      if (!counts(*e->task, e->agent->present, o)) return;
      task_records_of(*e, out.add);
      return;
    }
    task_records_of(*e, before);
    if (c.removed) {
      change(std::move(before), {});
      r.troubled.erase(e);
      AgentEntry& agent = *e->agent;
      FrameworkEntry& framework = *e->framework;
      unlink(*e);
      framework.tasks--;
      auto node = r.tasks.extract(r.tasks.find(key_of(*e->task)));
      r.drop_if_unused(agent);
      r.drop_if_unused(framework);
      return;
    }
    const bool moved = e->task->agent_id != c.after->agent_id;
    AgentEntry& former = *e->agent;
    if (moved) unlink(*e);
    e->task = c.after;  // the set's key reads it: both spell the same ids
    if (moved) {
      link(*e);
      r.drop_if_unused(former);
    }
    task_records_of(*e, after);
    if (after.empty()) r.troubled.erase(e);
    change(std::move(before), std::move(after));
  }
  void link(TaskEntry& e) {
    e.agent = &r.agent(e.task->agent_id.view());
    e.in_agent = e.agent->tasks.size();
    e.agent->tasks.push_back(&e);
  }
  static void unlink(TaskEntry& e) {
    auto& list = e.agent->tasks;
    list[e.in_agent] = list.back();
    list[e.in_agent]->in_agent = e.in_agent;
    list.pop_back();
  }

  void masters() {
    std::vector<Record> now = master_records(
        r.leader, r.masters, [&](std::string_view host) { return addresses_of(host, o); }, o.srv_weight);
    change(std::vector<Record>(r.master_records), std::vector<Record>(now));
    r.master_records = std::move(now);
  }
};

MesosZone::MesosZone(MesosZoneOptions options) : impl_(std::make_unique<Impl>(std::move(options))) {}
MesosZone::~MesosZone() = default;

RecordDelta MesosZone::apply(const StateDelta& delta) {
  return impl_->roster.with([&](Roster& r) {
    Impl::Work work{impl_->options, r, {}, nullptr};
    work.all(delta);
    return std::move(work.out);
  });
}

void MesosZone::apply(const StateDelta& delta, const Take& take) {
  impl_->roster.with([&](Roster& r) {
    Impl::Work work{impl_->options, r, {}, &take};
    work.all(delta);
    if (!work.out.empty()) take(std::move(work.out));
  });
}

RecordDelta MesosZone::set_masters(const std::optional<MasterAddress>& leader, const std::vector<MasterAddress>& list) {
  return impl_->roster.with([&](Roster& r) {
    Impl::Work work{impl_->options, r, {}, nullptr};
    if (leader) r.leader = leader;
    r.masters = list;
    work.masters();
    return std::move(work.out);
  });
}

RecordDelta MesosZone::set_own_addresses(const std::vector<IpAddress>& addresses) {
  return impl_->roster.with([&](Roster& r) {
    Impl::Work work{impl_->options, r, {}, nullptr};
    std::vector<Record> now;
    auto owner = relative_name(work.o.server_name);
    if (owner && !owner->empty())
      for (auto& a : distinct(addresses)) now.push_back(address_record(*owner, a));
    work.change(std::vector<Record>(r.own_records), std::vector<Record>(now));
    r.own_records = std::move(now);
    return std::move(work.out);
  });
}

RecordDelta MesosZone::host_changed(std::string_view host) {
  return impl_->roster.with([&](Roster& r) {
    Impl::Work work{impl_->options, r, {}, nullptr};
    const std::string name = folded(host);
    for (auto& [id, f] : r.frameworks) {
      if (f->place.host != name) continue;
      std::vector<Record> before = framework_records(*f, work.o);
      f->place.addresses = list_of(addresses_of(name, work.o), f->place.addresses);
      work.change(std::move(before), framework_records(*f, work.o));
    }
    for (auto& [id, a] : r.agents) {
      if (a->place.host != name) continue;
      AddressList now = list_of(addresses_of(name, work.o), a->place.addresses);
      if (*now != *a->place.addresses) work.with_agent(*a, [&place = a->place, &now] { place.addresses = now; });
    }
    work.masters();
    return std::move(work.out);
  });
}

std::vector<Record> MesosZone::full() const {
  return impl_->roster.with([&](Roster& r) {
    const MesosZoneOptions& o = impl_->options;
    std::vector<Record> out = r.master_records;
    auto append = [&](const std::vector<Record>& records) { out.insert(out.end(), records.begin(), records.end()); };
    append(r.own_records);
    for (auto& [id, f] : r.frameworks) append(framework_records(*f, o));
    for (auto& [id, a] : r.agents) append(agent_records(*a, o));
    for (auto& e : r.tasks) {
      if (!counts(*e->task, e->agent->present, o)) continue;
      TaskRecordList list;
      task_records(*e->task, *e->agent->place.addresses, FrameworkNames(e->task->framework_name.view(), o.rfc952), o, list,
                   nullptr);
      append(list.records);
    }
    return out;
  });
}

std::vector<ZoneProblem> MesosZone::problems() const {
  constexpr size_t kMost = 100;
  return impl_->roster.with([&](Roster& r) {
    const MesosZoneOptions& o = impl_->options;
    std::vector<ZoneProblem> out;
    for (auto& [id, f] : r.frameworks) {
      if (out.size() >= kMost) return out;
      if (!f->known) continue;
      const FrameworkNames names(f->name, o.rfc952);
      const std::string item = "framework " + f->id;
      if (names.plain.empty()) out.push_back({item, "name", "leaves nothing that a name could have"});
      if (reserved(names.fragment, o))
        out.push_back({item, "name", "is the reserved name \"" + names.fragment + "\"" +
                                         (o.protect_reserved ? "; its addresses are left out" : "; its addresses are mixed with that name's")});
      if (f->bad_pid) out.push_back({item, "pid", "has no host and port behind one @"});
    }
    for (auto& [id, a] : r.agents) {
      if (out.size() >= kMost) return out;
      if (a->present && a->place.addresses->empty())
        out.push_back({"agent " + a->id, "pid", a->place.host.empty() ? "names no host" : "host \"" + a->place.host + "\" has no address"});
    }
    for (TaskEntry* e : r.troubled) {
      if (out.size() >= kMost) return out;
      TaskRecordList list;
      task_records(*e->task, *e->agent->place.addresses, FrameworkNames(e->task->framework_name.view(), o.rfc952), o, list, &out);
    }
    if (out.size() > kMost) out.resize(kMost);
    return out;
  });
}

}  // namespace ls
