#include "derive/mesos_tasks.h"

#include <bitset>
#include <memory>

namespace ls::mesos {
namespace {

constexpr size_t kMaxRelative = DnsName::kMaxWire - 1;

class WireOut {
 public:
  WireOut(const Task& t, const FrameworkNames& f, const MesosZoneOptions& o, TaskRecordList& out,
          std::vector<ZoneProblem>* problems, bool rows)
      : task_(t), framework_(f), options_(o), out_(out), problems_(problems), rows_(rows) {}

  bool begin(std::string_view n, std::string_view c, bool raw) {
    if (framework_.fragment.empty()) {
      problem("framework name", "leaves nothing that a name could have");
      return false;
    }
    // The reference lists such names but no question ever matches them; the label form serves the task (B4).
    if (raw && !askable(n)) return false;
    for (auto* name : {&n_, &c_, &s_}) name->clear();
    const bool has_n = append_wire(n_, n);
    const bool has_c = askable(c) && append_wire(c_, c);
    std::string service = "_";
    service += n;
    const bool has_s = append_wire(s_, service);
    has_target_ = has_c;
    if (!has_c) {  // a suffix that no question can name may still be a target
      c_.clear();
      has_target_ = append_wire(c_, c);
    }
    has_n_ = has_n;
    has_c_ = has_c;
    has_s_ = has_s;
    if (!raw && !has_n) problem("name", n.empty() ? "leaves nothing that a name could have" : "is too long");
    if (!raw && has_n && !(has_c && has_s)) problem("name", "is too long for its longer forms (more than 63 octets in a label)");
    for (auto& part : {&owners_[0], &owners_[1], &owners_[2], &owners_[3]}) part->clear();
    return true;
  }

  void address(const AddressRow& row, const IpAddress& a) {
    if (!(row.canonical ? has_c_ : has_n_)) return;
    std::string owner = join(row.canonical ? c_ : n_, row.slave ? framework_.slave : framework_.plain);
    if (owner.size() > kMaxRelative) return too_long();
    push(address_record(std::move(owner), a), row.row);
  }

  void srv(const SrvRow& row) {
    if (!has_s_ || !has_target_) return;
    std::string owner;
    const std::string& below = row.owner_slave ? framework_.slave : framework_.plain;
    const bool tcp = row.protocol == "tcp";
    if (row.port_name.empty() && (tcp || row.protocol == "udp")) {
      std::string& ready = owners_[size_t(tcp) * 2 + size_t(row.owner_slave)];
      if (ready.empty()) ready = service(row.protocol, below);
      owner = ready;
    } else if (row.port_name.empty()) {
      owner = service(row.protocol, below);
    } else {
      if (row.port_name.size() >= DnsName::kMaxLabel) return;  // reported by task_rows
      owner += char(row.port_name.size() + 1);
      owner += '_';
      owner += row.port_name;
      owner += service(row.protocol, below);
    }
    const std::string& target_below = row.target_slave ? framework_.slave : framework_.plain;
    if (owner.size() > kMaxRelative || c_.size() + target_below.size() > kMaxRelative) return too_long();
    // As srv_record would, with one allocation.
    Record r{std::move(owner), RrType::kSrv, {}, 0};
    r.rdata.reserve(6 + c_.size() + target_below.size() + 1);
    r.rdata.append(2, '\0');  // priority
    r.rdata += char(options_.srv_weight >> 8);
    r.rdata += char(options_.srv_weight & 0xff);
    r.rdata += char(row.port >> 8);
    r.rdata += char(row.port & 0xff);
    r.rdata += c_;
    r.rdata += target_below;
    r.rdata += kApexMark;
    push(std::move(r), row.row);
  }

  void problem(std::string field, std::string why) {
    out_.trouble = true;
    if (problems_)
      problems_->push_back({"task " + task_.framework_id.str() + "/" + task_.id, std::move(field), std::move(why)});
  }

 private:
  static std::string join(const std::string& a, const std::string& b) {
    std::string out;
    out.reserve(a.size() + b.size());
    out += a;
    out += b;
    return out;
  }
  /// "_n._protocol" and what is below. A protocol is a label: at most 63 octets with the underscore in front, or it is cut off
  /// here as too long.
  std::string service(std::string_view protocol, const std::string& below) {
    std::string out;
    if (protocol.size() >= DnsName::kMaxLabel) {
      out.assign(kMaxRelative + 1, '\0');
      return out;
    }
    out.reserve(s_.size() + protocol.size() + 2 + below.size());
    out += s_;
    out += char(protocol.size() + 1);
    out += '_';
    out += protocol;
    out += below;
    return out;
  }
  void too_long() {
    if (!said_too_long_) problem("name", "makes names longer than 255 octets");
    said_too_long_ = true;
  }
  void push(Record&& r, int row) {
    out_.records.push_back(std::move(r));
    if (rows_) out_.rows.push_back(row);
  }

  const Task& task_;
  const FrameworkNames& framework_;
  const MesosZoneOptions& options_;
  TaskRecordList& out_;
  std::vector<ZoneProblem>* problems_;
  const bool rows_;
  std::string n_, c_, s_;  ///< wire: name, canonical name, "_name"
  std::string owners_[4];  ///< of rows 5 to 7: udp, udp slave, tcp, tcp slave
  bool has_n_ = false, has_c_ = false, has_s_ = false, has_target_ = false, said_too_long_ = false;
};

}  // namespace

std::vector<IpAddress> distinct(const std::vector<IpAddress>& in) {
  std::vector<IpAddress> out;
  out.reserve(in.size());
  for (auto& a : in)
    if (std::find(out.begin(), out.end(), a) == out.end()) out.push_back(a);
  return out;
}

std::vector<IpAddress> task_addresses(const Task& t, const std::vector<IpAddress>& agent, const MesosZoneOptions& o) {
  for (IpSource source : o.sources) {
    const std::vector<IpAddress>& found = source == IpSource::kHost     ? agent
                                          : source == IpSource::kDocker ? t.running_docker()
                                          : source == IpSource::kMesos  ? t.running_mesos()
                                                                        : t.running_netinfo();
    if (!found.empty()) return distinct(found);
  }
  return {};
}

TaskPorts resource_ports(const Task& t) {
  TaskPorts out;
  const auto& ranges = t.spec->port_resources;
  std::unique_ptr<std::bitset<65536>> seen;
  if (ranges.size() > 1) seen = std::make_unique<std::bitset<65536>>();
  for (auto& r : ranges) {
    if (r.end > UINT16_MAX) out.out_of_range = true;
    for (uint64_t p = r.begin; p <= std::min<uint64_t>(r.end, UINT16_MAX); p++) {
      if (seen && seen->test(p)) continue;
      if (out.ports.size() >= kMaxPorts) {
        out.too_many = true;
        return out;
      }
      if (seen) seen->set(p);
      out.ports.push_back(uint16_t(p));
    }
  }
  return out;
}

bool askable(std::string_view name) {
  for (size_t i = 0; i < name.size(); i++) {
    const char c = name[i];
    if (c <= ' ' || c >= 0x7f || (c >= 'A' && c <= 'Z')) return false;
    if (std::string_view("\"'@;()\\").find(c) != std::string_view::npos) return false;
    if (c == '*' && i > 0 && name[i - 1] == '.') return false;
  }
  return true;
}

bool append_wire(std::string& out, std::string_view dotted) {
  const size_t before = out.size();
  while (true) {
    const size_t dot = dotted.find('.');
    const std::string_view label = dotted.substr(0, dot);
    if (label.empty() || label.size() > DnsName::kMaxLabel || out.size() - before > DnsName::kMaxWire) {
      out.resize(before);
      return false;
    }
    out += char(label.size());
    for (char c : label) out += c >= 'A' && c <= 'Z' ? char(c | 0x20) : c;
    if (dot == dotted.npos) return true;
    dotted.remove_prefix(dot + 1);
  }
}

FrameworkNames::FrameworkNames(std::string_view name, bool rfc952) : fragment(mesos_domain_fragment(name, rfc952)) {
  if (fragment.empty() || !append_wire(plain, fragment)) return;
  slave = plain + "\5slave";
}

void task_records(const Task& t, const std::vector<IpAddress>& agent_addresses, const FrameworkNames& framework,
                  const MesosZoneOptions& o, TaskRecordList& out, std::vector<ZoneProblem>* problems, bool rows) {
  WireOut wire(t, framework, o, out, problems, rows);
  task_rows(t, agent_addresses, o, wire);
}

}  // namespace ls::mesos
