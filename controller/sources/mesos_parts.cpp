#include <simdjson.h>

#include <algorithm>
#include <cmath>

#include "sources/mesos_parts.h"

namespace ls::json {

void Parts::port(od::value v, std::vector<DiscoveryPort>& out, size_t index, NoNumber no_number) {
  DiscoveryPort p;
  p.index = uint16_t(std::min<size_t>(index, UINT16_MAX));
  p.name = "default";
  std::optional<int64_t> number;
  bool absent = true;
  int scopes = 0;
  object(std::move(v), [&](auto key, od::value value) {
    if (is(key, "number")) {
      at("number", [&] {
        absent = is_null(value);
        if (!absent && !broken) number = no_number == NoNumber::kZero ? whole_number(std::move(value)) : integer(std::move(value));
      });
    } else if (is(key, "name")) {
      at("name", [&] {
        auto s = text(std::move(value));
        if (!s) return;
        p.name = *s;
        p.named = true;
      });
    } else if (is(key, "protocol")) {
      at("protocol", [&] {
        auto s = text(std::move(value));
        if (!s) return;
        auto known = parse_protocol(*s);
        p.protocol = !known                      ? PortProtocol::kOther
                     : *known == Protocol::kTcp ? PortProtocol::kTcp
                                                : PortProtocol::kUdp;
        if (!known) p.protocol_text = shared(*s);
      });
    } else if (is(key, "labels")) {
      at("labels", [&] {
        labels(std::move(value), [&](std::string k, std::string text_value) {
          if (k == "network-scope") {
            p.scope = ++scopes > 1                ? PortScope::kInvalid
                      : text_value == "container" ? PortScope::kContainer
                      : text_value == "host"      ? PortScope::kHost
                                                  : PortScope::kInvalid;
          } else if (k.starts_with("VIP") || k.starts_with("vip")) {
            p.vips.push_back({std::move(k), std::move(text_value)});
          }
        });
      });
    }
  });
  if (broken) return;
  if (!number && absent && no_number == NoNumber::kZero) number = 0;
  if (!number) {
    if (!p.vips.empty()) problem("has no readable number");
    return;
  }
  p.number = *number;
  p.vips.shrink_to_fit();
  out.push_back(std::move(p));
}

void Parts::discovery(od::value v, TaskSpec& spec, NoNumber no_number) {
  object(std::move(v), [&](auto key, od::value value) {
    if (is(key, "name")) {
      at("name", [&] {
        auto s = text(std::move(value));
        if (!s || s->empty()) return;
        spec.name = *s;
        spec.discovered = true;
      });
    } else if (is(key, "ports")) {
      at("ports", [&] {
        object(std::move(value), [&](auto inner, od::value list) {
          if (!is(inner, "ports")) return;
          size_t index = 0;
          array(std::move(list), [&](od::value p) { port(std::move(p), spec.ports, index++, no_number); });
        });
      });
    }
  });
}

void Parts::mappings(od::value v, std::vector<PortMapping>& out) {
  array(std::move(v), [&](od::value entry) {
    PortMapping m;
    bool usable = true;
    auto port_number = [&](const char* name, od::value value, uint16_t& into) {
      at(name, [&] {
        auto n = integer(std::move(value));
        if (!n) return;
        if (*n < 0 || *n > UINT16_MAX) {
          problem("port " + std::to_string(*n) + " is out of range");
          usable = false;
        } else {
          into = uint16_t(*n);
        }
      });
    };
    object(std::move(entry), [&](auto key, od::value value) {
      if (is(key, "host_port")) {
        port_number("host_port", std::move(value), m.host_port);
      } else if (is(key, "container_port")) {
        port_number("container_port", std::move(value), m.container_port);
      } else if (is(key, "protocol")) {
        auto s = text(std::move(value));
        auto known = s ? parse_protocol(*s) : std::nullopt;
        usable = usable && known;
        if (known) m.protocol = *known;
      }
    });
    // Without a protocol Mesos itself maps TCP.
    if (!broken && usable && (m.host_port || m.container_port)) out.push_back(m);
  });
}

void Parts::network_infos(od::value v, Status* status, std::vector<PortMapping>& out) {
  array(std::move(v), [&](od::value info) {
    size_t had = status ? status->running.netinfo.size() : 0;
    std::string single;
    bool listed = false;
    object(std::move(info), [&](auto key, od::value value) {
      if (is(key, "port_mappings")) {
        at("port_mappings", [&] { mappings(std::move(value), out); });
      } else if (status && is(key, "ip_addresses")) {
        array(std::move(value), [&](od::value entry) {
          listed = true;
          object(std::move(entry), [&](auto k, od::value ip) {
            if (!is(k, "ip_address")) return;
            auto s = text(std::move(ip));
            if (!s) return;
            auto literal = IpAddress::parse(*s);
            if (literal) status->running.netinfo.push_back(*literal);
            // An IPv6 address may carry its prefix length (mesos-state.md 4).
            auto address = literal ? literal : IpAddress::parse(s->substr(0, s->find('/')));
            if (address && !address->is_zero()) status->addresses.push_back(*address);
          });
        });
      } else if (status && is(key, "ip_address")) {
        // Mesos before 0.26 (spec/mesos-dns.md 8.6): counts only beside an empty list.
        if (auto s = text(std::move(value))) single = *s;
      }
    });
    if (broken || !status || listed || single.empty() || status->running.netinfo.size() != had) return;
    if (auto address = IpAddress::parse(single)) status->running.netinfo.push_back(*address);
  });
}

void Parts::container(od::value v, TaskSpec& spec) {
  std::vector<PortMapping> network, docker;
  bool typed = false, has_infos = false;
  object(std::move(v), [&](auto key, od::value value) {
    if (is(key, "type")) {
      auto s = text(std::move(value));
      if (!s) return;
      typed = true;
      spec.runtime = *s == "MESOS" ? Runtime::kMesos : *s == "DOCKER" ? Runtime::kDocker : Runtime::kUnknown;
    } else if (is(key, "network_infos")) {
      has_infos = true;
      at("network_infos", [&] { network_infos(std::move(value), nullptr, network); });
    } else if (is(key, "docker")) {
      at("docker", [&] {
        object(std::move(value), [&](auto k, od::value list) {
          if (!is(k, "port_mappings")) return;
          at("port_mappings", [&] { mappings(std::move(list), docker); });
        });
      });
    }
  });
  bool mesos = !typed || spec.runtime == Runtime::kMesos;
  spec.mappings_from_status = mesos && !has_infos;
  if (spec.runtime == Runtime::kDocker) {
    spec.mappings = std::move(docker);
  } else if (mesos) {
    spec.mappings = std::move(network);
  }
}

Parts::Status Parts::status(od::value v, bool plain_labels) {
  Status out;
  object(std::move(v), [&](auto key, od::value value) {
    if (is(key, "timestamp")) {
      at("timestamp", [&] {
        if (auto d = number(std::move(value))) out.timestamp = *d;
      });
    } else if (is(key, "state")) {
      at("state", [&] {
        if (auto s = text(std::move(value))) out.state = parse_mesos_state(*s);
      });
    } else if (is(key, "healthy")) {
      at("healthy", [&] { out.healthy = boolean(std::move(value)); });
    } else if (is(key, "agent_id")) {
      at("agent_id", [&] { out.agent_id = id(std::move(value)); });
    } else if (is(key, "task_id")) {
      at("task_id", [&] { out.task_id = own_id(std::move(value)); });
    } else if (is(key, "labels")) {
      at("labels", [&] {
        auto on = [&](std::string k, std::string text_value) { status_label(k, text_value, out); };
        if (plain_labels) {
          label_list(std::move(value), on);
        } else {
          labels(std::move(value), on);
        }
      });
    } else if (is(key, "container_status")) {
      at("container_status", [&] {
        object(std::move(value), [&](auto k, od::value infos) {
          if (!is(k, "network_infos")) return;
          at("network_infos", [&] { network_infos(std::move(infos), &out, out.mappings); });
        });
      });
    }
  });
  if (out.state == MesosState::kRunning) out.running_at = std::isinf(out.timestamp) ? 0 : std::max(out.timestamp, -1.0);
  return out;
}

void Parts::status_label(std::string_view key, std::string_view value, Status& out) {
  auto* into = key == "Docker.NetworkSettings.IPAddress"               ? &out.running.docker
               : key == "MesosContainerizer.NetworkSettings.IPAddress" ? &out.running.mesos
                                                                       : nullptr;
  if (!into) return;
  if (auto address = IpAddress::parse(value)) into->push_back(*address);
}

void Parts::vip_label(std::string key, std::string value, TaskSpec& spec) {
  if (key.size() >= 3 && (key[0] | 32) == 'v' && (key[1] | 32) == 'i' && (key[2] | 32) == 'p')
    spec.vip_labels.push_back({std::move(key), std::move(value)});
}

void Parts::add_status(Status&& s, Task& out, Draft& d) {
  if (s.running_at > d.running_at) {
    d.running_at = s.running_at;
    d.running = std::move(s.running);
  }
  if (!s.addresses.empty() && (out.addresses.empty() || s.timestamp >= d.addresses_at)) {
    d.addresses_at = s.timestamp;
    out.addresses = std::move(s.addresses);
  }
  if (!s.mappings.empty() && (out.status_mappings.empty() || s.timestamp >= d.mappings_at)) {
    d.mappings_at = s.timestamp;
    out.status_mappings = std::move(s.mappings);
  }
  if (!d.any_status || s.timestamp >= d.newest.timestamp) d.newest = std::move(s);
  d.any_status = true;
}

bool Parts::finish(Task& out, Draft&& d, size_t first_problem) {
  if (broken) return false;
  bool complete = !out.id.empty() && !out.framework_id.empty() && !out.agent_id.empty();
  if (!complete) {
    problem(out.id.empty()             ? "has no task id"
            : out.framework_id.empty() ? "has no framework id"
                                       : "has no agent id");
  }
  if (problems.size() > first_problem) name_problems(first_problem, "task " + out.framework_id.str() + "/" + out.id);
  if (!complete) return false;
  TaskSpec& spec = *d.spec;
  if (!spec.discovered) {
    spec.name = std::move(d.name);
  } else if (spec.name != d.name) {
    spec.task_name = std::move(d.name);
    spec.renamed = true;
  }
  spec.ports.shrink_to_fit();
  spec.port_resources.shrink_to_fit();
  spec.vip_labels.shrink_to_fit();
  spec.mappings.shrink_to_fit();
  out.addresses.shrink_to_fit();
  out.state = d.state ? *d.state : d.newest.state.value_or(MesosState::kOther);
  out.health = d.newest.healthy   ? (*d.newest.healthy ? Health::kHealthy : Health::kUnhealthy)
               : spec.health_check ? Health::kUnhealthy
                                   : Health::kUnknown;
  out.set_running(d.running_at, std::move(d.running));
  out.spec = std::move(d.spec);
  return true;
}

SharedText Parts::id(od::value v) {
  SharedText out;
  field(std::move(v), "value", [&](od::value value) {
    if (auto s = text(std::move(value))) out = shared(*s);
  });
  return out;
}

std::string Parts::own_id(od::value v) {
  std::string out;
  field(std::move(v), "value", [&](od::value value) {
    if (auto s = text(std::move(value))) out = *s;
  });
  return out;
}

}  // namespace ls::json
