// Records to text (docs/design/13-hub.md lists the keys). By hand: a cluster's snapshot is written in one pass, without a tree.
#include <fmt/format.h>

#include <cmath>
#include <limits>
#include <unordered_map>

#include "hub/record.h"
#include "hub/record_text.h"

namespace ls::hub {
namespace {

template <class T>
void number(std::string& out, T n) {
  fmt::format_int text(n);
  out.append(text.data(), text.size());
}

void real(std::string& out, double d) {
  constexpr double kMost = std::numeric_limits<double>::max();
  if (std::isnan(d)) d = -1;
  if (std::isinf(d)) d = d > 0 ? kMost : -kMost;
  fmt::format_to(std::back_inserter(out), "{}", d);
}

void text(std::string& out, std::string_view t) { append_json_text(out, t); }

/// Empty text for the zero address.
void address(std::string& out, const IpAddress& a) {
  out += '"';
  if (a != IpAddress()) out += a.text();
  out += '"';
}

template <class List, class Write>
void list(std::string& out, const List& values, Write&& write) {
  out += '[';
  bool first = true;
  for (auto& v : values) {
    if (!std::exchange(first, false)) out += ',';
    write(v);
  }
  out += ']';
}

void addresses(std::string& out, const std::vector<IpAddress>& values) {
  list(out, values, [&](auto& a) { address(out, a); });
}

void mappings(std::string& out, const std::vector<PortMapping>& values) {
  list(out, values, [&](const PortMapping& m) {
    out += '[';
    number(out, int(m.protocol));
    out += ',';
    number(out, m.container_port);
    out += ',';
    number(out, m.host_port);
    out += ']';
  });
}

void labels(std::string& out, const std::vector<VipLabel>& values) {
  list(out, values, [&](const VipLabel& l) {
    out += '[';
    text(out, l.key);
    out += ',';
    text(out, l.value);
    out += ']';
  });
}

void port(std::string& out, const DiscoveryPort& p) {
  out += '[';
  number(out, p.number);
  out += ',';
  number(out, p.index);
  out += ',';
  number(out, int(p.protocol));
  out += ',';
  number(out, int(p.scope));
  out += p.named ? ",true," : ",false,";
  text(out, p.name);
  if (!p.vips.empty() || !p.protocol_text.empty()) {
    out += ',';
    labels(out, p.vips);
  }
  if (!p.protocol_text.empty()) {
    out += ',';
    text(out, p.protocol_text.view());
  }
  out += ']';
}

std::string spec_text(const TaskSpec& s) {
  std::string out = "{\"n\":";
  text(out, s.name);
  if (s.renamed || !s.task_name.empty()) {
    out += ",\"o\":";
    text(out, s.task_name);
    if (!s.renamed) out += ",\"on\":false";
  }
  if (s.discovered) out += ",\"d\":true";
  if (!s.ports.empty()) {
    out += ",\"p\":";
    list(out, s.ports, [&](auto& p) { port(out, p); });
  }
  if (!s.mappings.empty()) {
    out += ",\"m\":";
    mappings(out, s.mappings);
  }
  if (!s.port_resources.empty()) {
    out += ",\"r\":";
    list(out, s.port_resources, [&](const PortRange& r) {
      out += '[';
      number(out, r.begin);
      out += ',';
      number(out, r.end);
      out += ']';
    });
  }
  if (!s.vip_labels.empty()) {
    out += ",\"l\":";
    labels(out, s.vip_labels);
  }
  if (s.runtime != Runtime::kUnknown) {
    out += ",\"c\":";
    number(out, int(s.runtime));
  }
  if (s.health_check) out += ",\"h\":true";
  if (!s.mappings_from_status) out += ",\"s\":false";
  out += '}';
  return out;
}

/// Tasks of one record. What many of them have is written where it comes first, and by its number after that.
class TaskRows {
 public:
  explicit TaskRows(std::string& out) : out_(out) {}

  void put(const Task& t) {
    begin();
    text(out_, t.id);
    out_ += ',';
    key_.clear();
    key_ += '[';
    text(key_, t.framework_id.view());
    if (t.framework_known || !t.framework_name.empty()) {
      key_ += ',';
      text(key_, t.framework_name.view());
      if (!t.framework_known) key_ += ",false";
    }
    key_ += ']';
    defined(owners_, key_);
    out_ += ',';
    key_.clear();
    key_ += '[';
    text(key_, t.agent_id.view());
    if (t.agent_address != IpAddress()) {
      key_ += ',';
      address(key_, t.agent_address);
    }
    key_ += ']';
    defined(places_, key_);
    out_ += ',';
    description(t.spec);
    out_ += ',';
    number(out_, int(t.state));

    // What is as most tasks have it is left out at the end.
    const int last = t.running ? 10 : !t.status_mappings.empty() ? 9 : !t.addresses.empty() ? 8 : t.copy ? 7 : t.running_at != -1 ? 6 : t.health != Health::kUnknown ? 5 : 4;
    if (last >= 5) {
      out_ += ',';
      number(out_, int(t.health));
    }
    if (last >= 6) {
      out_ += ',';
      real(out_, t.running_at);
    }
    if (last >= 7) {
      out_ += ',';
      number(out_, t.copy);
    }
    if (last >= 8) {
      out_ += ',';
      addresses(out_, t.addresses);
    }
    if (last >= 9) {
      out_ += ',';
      mappings(out_, t.status_mappings);
    }
    if (last >= 10) {
      for (auto* which : {&t.running->netinfo, &t.running->docker, &t.running->mesos}) {
        out_ += which == &t.running->netinfo ? ",[" : ",";
        addresses(out_, *which);
      }
      out_ += ']';
    }
    out_ += ']';
  }
  void gone(const Task& t) {
    begin();
    out_ += "null,";
    text(out_, t.id);
    out_ += ',';
    text(out_, t.framework_id.view());
    if (t.copy) {
      out_ += ',';
      number(out_, t.copy);
    }
    out_ += ']';
  }

 private:
  using Known = std::unordered_map<std::string, uint32_t>;

  void begin() { out_ += std::exchange(first_, false) ? "[" : ",["; }
  uint32_t defined(Known& known, const std::string& definition) {
    auto [it, fresh] = known.try_emplace(definition, uint32_t(known.size()));
    if (fresh) out_ += definition;
    else number(out_, it->second);
    return it->second;
  }
  void description(const std::shared_ptr<const TaskSpec>& spec) {
    auto it = by_address_.find(spec.get());
    if (it != by_address_.end()) return number(out_, it->second);
    // Two tasks of one application have an object each, of the same content.
    by_address_.emplace(spec.get(), defined(specs_, spec_text(*spec)));
  }

  std::string& out_;
  std::string key_;
  bool first_ = true;
  Known owners_, places_, specs_;
  std::unordered_map<const TaskSpec*, uint32_t> by_address_;
};

void agent_row(std::string& out, const Agent& a, const IpAddress& at) {
  out += '[';
  text(out, a.id.view());
  out += ',';
  text(out, a.hostname);
  out += ',';
  text(out, a.pid);
  out += ',';
  address(out, at);
  out += ']';
}

void framework_row(std::string& out, const Framework& f) {
  out += '[';
  text(out, f.id.view());
  out += ',';
  text(out, f.name.view());
  if (!f.hostname.empty() || !f.pid.empty()) {
    out += ',';
    text(out, f.hostname);
    out += ',';
    text(out, f.pid);
  }
  out += ']';
}

void source(std::string& out, const SourceHealth& s) {
  out += fmt::format(",\"source\":{{\"connected\":{},\"synced\":{},\"lost_ms\":{},\"leader\":", s.connected, s.synced, s.lost_ms);
  text(out, s.leader);
  out += ",\"masters\":";
  list(out, s.masters, [&](auto& m) { text(out, m); });
  out += ",\"unreachable\":";
  addresses(out, s.unreachable);
  out += '}';
}

template <class Change, class Write>
void some(std::string& out, const char* key, const std::vector<Change>& changes, bool removed, Write&& write) {
  bool first = true;
  for (auto& c : changes) {
    if (c.removed != removed) continue;
    out += std::exchange(first, false) ? fmt::format(",\"{}\":[", key) : ",";
    write(c);
  }
  if (!first) out += ']';
}

}  // namespace

std::string encode(const Hello& h) {
  auto out = fmt::format("{{\"t\":\"hello\",\"format\":{},\"run\":", h.format);
  text(out, h.at.run);
  out += fmt::format(",\"seq\":{},\"snapshot\":{},\"beat_ms\":{},\"us\":{},\"version\":", h.at.seq, h.snapshot, h.heartbeat_ms, h.clock_us);
  text(out, h.version);
  source(out, h.source);
  out += '}';
  return out;
}

std::string encode(const Beat& b) {
  auto out = fmt::format("{{\"t\":\"beat\",\"seq\":{},\"us\":{}", b.seq, b.clock_us);
  source(out, b.source);
  out += '}';
  return out;
}

std::string encode(const Changes& c) {
  auto out = fmt::format("{{\"t\":\"changes\",\"first\":{},\"last\":{},\"us\":{}", c.first, c.last, c.received_us);
  some(out, "agents", c.agents, false, [&](auto& a) { agent_row(out, a.agent, a.address); });
  some(out, "agents_gone", c.agents, true, [&](auto& a) { text(out, a.agent.id.view()); });
  some(out, "frameworks", c.frameworks, false, [&](auto& f) { framework_row(out, f.framework); });
  some(out, "frameworks_gone", c.frameworks, true, [&](auto& f) { text(out, f.framework.id.view()); });
  if (!c.recovered.empty()) {
    out += ",\"waited\":";
    list(out, c.recovered, [&](const RecoveredChange& r) {
      out += '[';
      text(out, r.id.view());
      out += r.waited_for ? ",true]" : ",false]";
    });
  }
  if (!c.tasks.empty()) {
    out += ",\"tasks\":[";
    TaskRows rows(out);
    for (auto& t : c.tasks) {
      if (t.removed) rows.gone(*t.after);
      else rows.put(*t.after);
    }
    out += ']';
  }
  out += '}';
  return out;
}

// ---- snapshots ----

struct ImageWriter::Impl {
  enum Part { kNothing, kAgents, kRecovered, kFrameworks, kTasks };
  static constexpr const char* kKeys[] = {"", "agents", "recovered", "frameworks", "tasks"};

  /// Begins the list `wanted`, or goes on with it.
  void go_to(Part wanted) {
    if (part == wanted) {
      if (wanted != kTasks) out += ',';
      return;
    }
    if (part != kNothing) out += ']';
    part = wanted;
    out += fmt::format(",\"{}\":[", kKeys[wanted]);
  }

  std::string out;
  Part part = kNothing;
  TaskRows rows{out};
};

ImageWriter::ImageWriter(uint64_t seq, size_t expected) : impl_(std::make_unique<Impl>()) {
  impl_->out.reserve(expected);
  impl_->out += fmt::format("{{\"t\":\"snapshot\",\"seq\":{}", seq);
}
ImageWriter::~ImageWriter() = default;

void ImageWriter::agent(const Agent& agent, const IpAddress& address) {
  impl_->go_to(Impl::kAgents);
  agent_row(impl_->out, agent, address);
}
void ImageWriter::recovered(const SharedText& id) {
  impl_->go_to(Impl::kRecovered);
  text(impl_->out, id.view());
}
void ImageWriter::framework(const Framework& framework) {
  impl_->go_to(Impl::kFrameworks);
  framework_row(impl_->out, framework);
}
void ImageWriter::task(const Task& task) {
  impl_->go_to(Impl::kTasks);
  impl_->rows.put(task);
}
size_t ImageWriter::size() const { return impl_->out.size(); }
std::string ImageWriter::finish() {
  if (impl_->part != Impl::kNothing) impl_->out += ']';
  impl_->out += '}';
  return std::move(impl_->out);
}

std::string encode(const Image& image) {
  ImageWriter w(image.seq);
  for (auto& a : image.agents) w.agent(a.agent, a.address);
  for (auto& r : image.recovered) w.recovered(r);
  for (auto& f : image.frameworks) w.framework(f);
  for (auto& t : image.tasks) w.task(*t);
  return w.finish();
}

}  // namespace ls::hub
