#include "sources/mesos_json.h"

#include <simdjson.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <utility>

namespace ls {
namespace {

namespace od = simdjson::ondemand;
static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

constexpr int64_t kNumberLimit = int64_t(1) << 53;  // beyond this a double is no exact integer; the value is held there

/// After one of these the position in the text is lost; what comes after the others can still be read.
bool loses_position(simdjson::error_code e) {
  switch (e) {
    case simdjson::SUCCESS:
    case simdjson::INCORRECT_TYPE:
    case simdjson::NO_SUCH_FIELD:
    case simdjson::NUMBER_ERROR:
    case simdjson::NUMBER_OUT_OF_RANGE:
    case simdjson::STRING_ERROR:
    case simdjson::F_ATOM_ERROR:
    case simdjson::T_ATOM_ERROR:
    case simdjson::N_ATOM_ERROR:
      return false;
    default:
      return true;
  }
}

int64_t saturate(double d) {
  if (std::isnan(d)) return 0;
  if (d >= double(kNumberLimit)) return kNumberLimit;
  if (d <= -double(kNumberLimit)) return -kNumberLimit;
  return int64_t(d);
}

struct StringHash {
  using is_transparent = void;
  size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};

/// One pass over one record. Every reader takes its value completely or leaves it to be skipped.
class Walk {
 public:
  std::vector<DecodeProblem> problems;
  size_t problem_count = 0;
  simdjson::error_code broken = simdjson::SUCCESS;  ///< set: stop, the text is no JSON from here on

  void event(od::value root, Event& out);

 private:
  struct Step {
    const char* name;
    int index;
  };
  struct Status {
    double timestamp = -std::numeric_limits<double>::infinity();
    std::optional<MesosState> state;
    std::optional<bool> healthy;
    std::vector<IpAddress> addresses;
    std::vector<PortMapping> mappings;
    SharedText agent_id;
    std::string task_id;
  };

  // -- plumbing --
  void problem(std::string why) {
    problem_count++;
    if (problems.size() >= RecordDecoder::kMaxProblems) return;
    std::string field;
    for (auto& s : path_) {
      if (s.name) field += (field.empty() ? "" : ".") + std::string(s.name);
      if (s.index >= 0) field += "[" + std::to_string(s.index) + "]";
    }
    problems.push_back({"", std::move(field), std::move(why)});
  }
  bool failed(simdjson::error_code e, const char* expected) {
    if (!e) return false;
    if (loses_position(e)) {
      broken = e;
    } else {
      problem(std::string("is not ") + expected);
    }
    return true;
  }
  /// Gives problems that were found inside an item the item's name.
  void name_problems(size_t from, const std::string& item) {
    for (size_t i = from; i < problems.size(); i++)
      if (problems[i].item.empty()) problems[i].item = item;
  }
  bool is_null(od::value& v) {
    bool null = false;
    auto type = v.type();
    od::json_type t;
    if (auto e = std::move(type).get(t)) {
      if (loses_position(e)) broken = e;
      return false;
    }
    null = t == od::json_type::null;
    return null;
  }

  /// Calls `on(key, value)` for each field; null counts as absent.
  template <class On>
  void object(od::value v, On&& on) {
    if (is_null(v) || broken) return;
    od::object o;
    if (failed(v.get_object().get(o), "an object")) return;
    for (auto item : o) {
      od::field f;
      if (auto e = std::move(item).get(f)) {
        broken = e;
        return;
      }
      on(f.key(), od::value(f.value()));
      if (broken) return;
    }
  }
  /// Calls `on(element)` for each element, its index on the path.
  template <class On>
  void array(od::value v, On&& on) {
    if (is_null(v) || broken) return;
    od::array a;
    if (failed(v.get_array().get(a), "a list")) return;
    int index = 0;
    for (auto item : a) {
      od::value element;
      if (auto e = std::move(item).get(element)) {
        broken = e;
        return;
      }
      path_.push_back({nullptr, index++});
      on(std::move(element));
      path_.pop_back();
      if (broken) return;
    }
  }
  /// Puts `name` on the path while `read` runs.
  template <class Read>
  void at(const char* name, Read&& read) {
    path_.push_back({name, -1});
    read();
    path_.pop_back();
  }
  std::optional<std::string_view> text(od::value v) {
    std::string_view s;
    if (is_null(v) || broken || failed(v.get_string().get(s), "a readable string")) return std::nullopt;
    return s;
  }
  std::optional<double> number(od::value v) {
    od::json_type type;
    if (auto e = v.type().get(type)) {
      if (loses_position(e)) broken = e;
      return std::nullopt;
    }
    double d = 0;
    if (type == od::json_type::null) return std::nullopt;
    if (type == od::json_type::string) {  // 64-bit integers may come as text
      auto s = text(std::move(v));
      if (!s) return std::nullopt;
      auto [end, ec] = std::from_chars(s->data(), s->data() + s->size(), d);
      if (ec == std::errc{} && end == s->data() + s->size() && !s->empty()) return d;
      problem("is not a number");
      return std::nullopt;
    }
    if (failed(v.get_double().get(d), "a number")) return std::nullopt;
    return d;
  }
  std::optional<int64_t> integer(od::value v) {
    auto d = number(std::move(v));
    if (!d) return std::nullopt;
    return saturate(*d);
  }
  std::optional<bool> boolean(od::value v) {
    bool b = false;
    if (is_null(v) || broken || failed(v.get_bool().get(b), "true or false")) return std::nullopt;
    return b;
  }
  SharedText shared(std::string_view s) {
    auto it = texts_.find(s);
    if (it == texts_.end()) it = texts_.emplace(std::string(s), SharedText(s)).first;
    return it->second;
  }
  /// {"value": "..."}
  SharedText id(od::value v) {
    SharedText out;
    object(std::move(v), [&](auto key, od::value value) {
      if (key != "value") return;
      if (auto s = text(std::move(value))) out = shared(*s);
    });
    return out;
  }
  std::string own_id(od::value v) {
    std::string out;
    object(std::move(v), [&](auto key, od::value value) {
      if (key != "value") return;
      if (auto s = text(std::move(value))) out = *s;
    });
    return out;
  }

  // -- parts --
  template <class On>
  void labels(od::value v, On&& on);
  void port(od::value v, std::vector<DiscoveryPort>& out, size_t index);
  void discovery(od::value v, TaskSpec& spec);
  void resource(od::value v, std::vector<PortRange>& out);
  void mappings(od::value v, std::vector<PortMapping>& out);
  void network_infos(od::value v, std::vector<IpAddress>* addresses, std::vector<PortMapping>& out);
  void container(od::value v, TaskSpec& spec);
  Status status(od::value v);
  bool task(od::value v, Task& out);
  bool agent_info(od::value v, Agent& out);
  bool agent(od::value v, Agent& out);
  bool framework_info(od::value v, Framework& out);
  bool framework(od::value v, Framework& out);
  template <class T, class Read>
  void list(od::value v, std::vector<T>& out, Read&& read);
  void snapshot(od::value v, Snapshot& out);
  void member(std::string_view name, od::value v, Event& out);

  std::vector<Step> path_;
  std::unordered_map<std::string, SharedText, StringHash, std::equal_to<>> texts_;
};

template <class On>
void Walk::labels(od::value v, On&& on) {
  object(std::move(v), [&](auto key, od::value list) {
    if (key != "labels") return;
    array(std::move(list), [&](od::value entry) {
      std::string name;
      std::optional<std::string> value;
      object(std::move(entry), [&](auto k, od::value part) {
        if (k == "key") {
          if (auto s = text(std::move(part))) name = *s;
        } else if (k == "value") {
          if (auto s = text(std::move(part))) value = *s;
        }
      });
      if (!broken && value) on(std::move(name), std::move(*value));
    });
  });
}

void Walk::port(od::value v, std::vector<DiscoveryPort>& out, size_t index) {
  DiscoveryPort p;
  p.index = uint16_t(std::min<size_t>(index, UINT16_MAX));
  p.name = "default";
  std::optional<int64_t> number;
  int scopes = 0;
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "number") {
      at("number", [&] { number = integer(std::move(value)); });
    } else if (key == "name") {
      at("name", [&] {
        if (auto s = text(std::move(value))) p.name = *s;
      });
    } else if (key == "protocol") {
      at("protocol", [&] {
        auto s = text(std::move(value));
        if (!s) return;
        auto known = parse_protocol(*s);
        p.protocol = !known                      ? PortProtocol::kOther
                     : *known == Protocol::kTcp ? PortProtocol::kTcp
                                                : PortProtocol::kUdp;
      });
    } else if (key == "labels") {
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
  if (!number) {
    if (!p.vips.empty()) problem("has no readable number");
    return;
  }
  p.number = *number;
  p.vips.shrink_to_fit();
  out.push_back(std::move(p));
}

void Walk::discovery(od::value v, TaskSpec& spec) {
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "name") {
      at("name", [&] {
        if (auto s = text(std::move(value)); s && !s->empty()) spec.name = *s;
      });
    } else if (key == "ports") {
      at("ports", [&] {
        object(std::move(value), [&](auto inner, od::value list) {
          if (inner != "ports") return;
          size_t index = 0;
          array(std::move(list), [&](od::value p) { port(std::move(p), spec.ports, index++); });
        });
      });
    }
  });
}

void Walk::resource(od::value v, std::vector<PortRange>& out) {
  bool ports = false;
  std::vector<PortRange> found;
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "name") {
      auto s = text(std::move(value));
      ports = s && *s == "ports";
    } else if (key == "scalar") {
      object(std::move(value), [&](auto k, od::value n) {
        if (k != "value") return;
        auto number = integer(std::move(n));
        if (number && *number >= 0) found.push_back({uint64_t(*number), uint64_t(*number)});
      });
    } else if (key == "ranges") {
      object(std::move(value), [&](auto k, od::value list) {
        if (k != "range") return;
        array(std::move(list), [&](od::value range) {
          std::optional<int64_t> begin, end;
          object(std::move(range), [&](auto side, od::value n) {
            if (side == "begin") begin = integer(std::move(n));
            if (side == "end") end = integer(std::move(n));
          });
          if (begin && end && *begin >= 0 && *begin <= *end) found.push_back({uint64_t(*begin), uint64_t(*end)});
        });
      });
    }
  });
  if (!broken && ports) out.insert(out.end(), found.begin(), found.end());
}

void Walk::mappings(od::value v, std::vector<PortMapping>& out) {
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
      if (key == "host_port") {
        port_number("host_port", std::move(value), m.host_port);
      } else if (key == "container_port") {
        port_number("container_port", std::move(value), m.container_port);
      } else if (key == "protocol") {
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

void Walk::network_infos(od::value v, std::vector<IpAddress>* addresses, std::vector<PortMapping>& out) {
  array(std::move(v), [&](od::value info) {
    object(std::move(info), [&](auto key, od::value value) {
      if (key == "port_mappings") {
        at("port_mappings", [&] { mappings(std::move(value), out); });
      } else if (addresses && key == "ip_addresses") {
        array(std::move(value), [&](od::value entry) {
          object(std::move(entry), [&](auto k, od::value ip) {
            if (k != "ip_address") return;
            auto s = text(std::move(ip));
            if (!s) return;
            // An IPv6 address may carry its prefix length (mesos-state.md 4).
            auto address = IpAddress::parse(s->substr(0, s->find('/')));
            if (address && !address->is_zero()) addresses->push_back(*address);
          });
        });
      }
    });
  });
}

void Walk::container(od::value v, TaskSpec& spec) {
  std::vector<PortMapping> network, docker;
  bool typed = false, has_infos = false;
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "type") {
      auto s = text(std::move(value));
      if (!s) return;
      typed = true;
      spec.runtime = *s == "MESOS" ? Runtime::kMesos : *s == "DOCKER" ? Runtime::kDocker : Runtime::kUnknown;
    } else if (key == "network_infos") {
      has_infos = true;
      at("network_infos", [&] { network_infos(std::move(value), nullptr, network); });
    } else if (key == "docker") {
      at("docker", [&] {
        object(std::move(value), [&](auto k, od::value list) {
          if (k != "port_mappings") return;
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

Walk::Status Walk::status(od::value v) {
  Status out;
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "timestamp") {
      at("timestamp", [&] {
        if (auto d = number(std::move(value))) out.timestamp = *d;
      });
    } else if (key == "state") {
      at("state", [&] {
        if (auto s = text(std::move(value))) out.state = parse_mesos_state(*s);
      });
    } else if (key == "healthy") {
      at("healthy", [&] { out.healthy = boolean(std::move(value)); });
    } else if (key == "agent_id") {
      at("agent_id", [&] { out.agent_id = id(std::move(value)); });
    } else if (key == "task_id") {
      at("task_id", [&] { out.task_id = own_id(std::move(value)); });
    } else if (key == "container_status") {
      at("container_status", [&] {
        object(std::move(value), [&](auto k, od::value infos) {
          if (k != "network_infos") return;
          at("network_infos", [&] { network_infos(std::move(infos), &out.addresses, out.mappings); });
        });
      });
    }
  });
  return out;
}

bool Walk::task(od::value v, Task& out) {
  size_t first_problem = problems.size();
  auto spec = std::make_shared<TaskSpec>();
  std::string name;
  std::optional<MesosState> state;
  Status newest;
  bool any_status = false;
  double addresses_at = 0, mappings_at = 0;
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "task_id") {
      at("task_id", [&] { out.id = own_id(std::move(value)); });
    } else if (key == "framework_id") {
      at("framework_id", [&] { out.framework_id = id(std::move(value)); });
    } else if (key == "agent_id") {
      at("agent_id", [&] { out.agent_id = id(std::move(value)); });
    } else if (key == "name") {
      at("name", [&] {
        if (auto s = text(std::move(value))) name = *s;
      });
    } else if (key == "state") {
      at("state", [&] {
        if (auto s = text(std::move(value))) state = parse_mesos_state(*s);
      });
    } else if (key == "discovery") {
      at("discovery", [&] { discovery(std::move(value), *spec); });
    } else if (key == "labels") {
      at("labels", [&] {
        labels(std::move(value), [&](std::string k, std::string text_value) {
          if (k.size() >= 3 && (k[0] | 32) == 'v' && (k[1] | 32) == 'i' && (k[2] | 32) == 'p')
            spec->vip_labels.push_back({std::move(k), std::move(text_value)});
        });
      });
    } else if (key == "resources") {
      at("resources", [&] {
        array(std::move(value), [&](od::value r) { resource(std::move(r), spec->port_resources); });
      });
    } else if (key == "container") {
      at("container", [&] { container(std::move(value), *spec); });
    } else if (key == "health_check") {
      spec->health_check = !is_null(value);
    } else if (key == "statuses") {
      at("statuses", [&] {
        array(std::move(value), [&](od::value entry) {
          Status s = status(std::move(entry));
          if (broken) return;
          if (!s.addresses.empty() && (out.addresses.empty() || s.timestamp >= addresses_at)) {
            addresses_at = s.timestamp;
            out.addresses = std::move(s.addresses);
          }
          if (!s.mappings.empty() && (out.status_mappings.empty() || s.timestamp >= mappings_at)) {
            mappings_at = s.timestamp;
            out.status_mappings = std::move(s.mappings);
          }
          if (!any_status || s.timestamp >= newest.timestamp) newest = std::move(s);
          any_status = true;
        });
      });
    }
  });
  if (broken) return false;
  std::string item = "task " + out.framework_id.str() + "/" + out.id;
  if (out.id.empty() || out.framework_id.empty() || out.agent_id.empty()) {
    problem(out.id.empty()             ? "has no task id"
            : out.framework_id.empty() ? "has no framework id"
                                       : "has no agent id");
    name_problems(first_problem, item);
    return false;
  }
  name_problems(first_problem, item);
  if (spec->name.empty()) spec->name = std::move(name);
  spec->ports.shrink_to_fit();
  spec->port_resources.shrink_to_fit();
  spec->vip_labels.shrink_to_fit();
  spec->mappings.shrink_to_fit();
  out.addresses.shrink_to_fit();
  out.state = state ? *state : newest.state.value_or(MesosState::kOther);
  out.health = newest.healthy    ? (*newest.healthy ? Health::kHealthy : Health::kUnhealthy)
               : spec->health_check ? Health::kUnhealthy
                                    : Health::kUnknown;
  out.spec = std::move(spec);
  return true;
}

bool Walk::agent_info(od::value v, Agent& out) {
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "id") {
      at("id", [&] { out.id = id(std::move(value)); });
    } else if (key == "hostname") {
      at("hostname", [&] {
        if (auto s = text(std::move(value))) out.hostname = *s;
      });
    }
  });
  if (broken) return false;
  if (out.id.empty()) problem("has no agent id");
  return !out.id.empty();
}

bool Walk::agent(od::value v, Agent& out) {
  size_t first_problem = problems.size();
  bool ok = false;
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "agent_info") {
      at("agent_info", [&] { ok = agent_info(std::move(value), out); });
    } else if (key == "pid") {
      at("pid", [&] {
        if (auto s = text(std::move(value))) out.pid = *s;
      });
    }
  });
  name_problems(first_problem, "agent " + out.id.str());
  return ok && !broken;
}

bool Walk::framework_info(od::value v, Framework& out) {
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "id") {
      at("id", [&] { out.id = id(std::move(value)); });
    } else if (key == "name") {
      at("name", [&] {
        if (auto s = text(std::move(value))) out.name = shared(*s);
      });
    }
  });
  if (broken) return false;
  if (out.id.empty()) problem("has no framework id");
  return !out.id.empty();
}

bool Walk::framework(od::value v, Framework& out) {
  size_t first_problem = problems.size();
  bool ok = false;
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "framework_info") at("framework_info", [&] { ok = framework_info(std::move(value), out); });
  });
  name_problems(first_problem, "framework " + out.id.str());
  return ok && !broken;
}

template <class T, class Read>
void Walk::list(od::value v, std::vector<T>& out, Read&& read) {
  array(std::move(v), [&](od::value element) {
    T item;
    if (read(std::move(element), item)) out.push_back(std::move(item));
  });
}

void Walk::snapshot(od::value v, Snapshot& out) {
  object(std::move(v), [&](auto key, od::value part) {
    if (key == "get_agents") {
      at("get_agents", [&] {
        object(std::move(part), [&](auto k, od::value value) {
          if (k == "agents") {
            at("agents", [&] { list(std::move(value), out.agents, [&](od::value e, Agent& a) { return agent(std::move(e), a); }); });
          } else if (k == "recovered_agents") {
            at("recovered_agents", [&] {
              list(std::move(value), out.recovered_agents, [&](od::value e, Agent& a) { return agent_info(std::move(e), a); });
            });
          }
        });
      });
    } else if (key == "get_frameworks") {
      at("get_frameworks", [&] {
        object(std::move(part), [&](auto k, od::value value) {
          if (k != "frameworks") return;
          at("frameworks", [&] {
            list(std::move(value), out.frameworks, [&](od::value e, Framework& f) { return framework(std::move(e), f); });
          });
        });
      });
    } else if (key == "get_tasks") {
      at("get_tasks", [&] {
        // The agent's answer calls them launched_tasks; `tasks` wins if both are there (operator-stream 1).
        std::vector<Task> launched;
        bool has_tasks = false;
        auto read = [&](od::value e, Task& t) { return task(std::move(e), t); };
        object(std::move(part), [&](auto k, od::value value) {
          if (k == "tasks") {
            has_tasks = true;
            at("tasks", [&] { list(std::move(value), out.tasks, read); });
          } else if (k == "launched_tasks" && !has_tasks) {
            at("launched_tasks", [&] { list(std::move(value), launched, read); });
          }
        });
        if (!has_tasks) out.tasks = std::move(launched);
      });
    }
  });
}

/// `name` is a member of the event; others than the known ones are left alone.
void Walk::member(std::string_view name, od::value v, Event& out) {
  if (name == "subscribed") {
    Subscribed s;
    object(std::move(v), [&](auto key, od::value value) {
      if (key == "get_state") {
        at("get_state", [&] { snapshot(std::move(value), s.snapshot); });
      } else if (key == "heartbeat_interval_seconds") {
        at("heartbeat_interval_seconds", [&] {
          auto seconds = number(std::move(value));
          // An hour is far above any sense; a stream that silent could not be told from a dead one.
          if (seconds && *seconds > 0 && *seconds <= 3600) s.heartbeat = Millis(int64_t(*seconds * 1000));
        });
      }
    });
    out = std::move(s);
  } else if (name == "get_state") {
    Subscribed s;
    snapshot(std::move(v), s.snapshot);
    out = std::move(s);
  } else if (name == "task_added") {
    object(std::move(v), [&](auto key, od::value value) {
      TaskAdded e;
      if (key == "task" && task(std::move(value), e.task)) out = std::move(e);
    });
  } else if (name == "task_updated") {
    TaskUpdated u;
    std::optional<MesosState> outer;
    Status s;
    object(std::move(v), [&](auto key, od::value value) {
      if (key == "framework_id") {
        at("framework_id", [&] { u.framework_id = id(std::move(value)); });
      } else if (key == "status") {
        at("status", [&] { s = status(std::move(value)); });
      } else if (key == "state") {
        at("state", [&] {
          if (auto t = text(std::move(value))) outer = parse_mesos_state(*t);
        });
      }
    });
    if (broken) return;
    if (u.framework_id.empty() || s.task_id.empty()) return problem("names no task");
    u.task_id = std::move(s.task_id);
    u.agent_id = s.agent_id;
    u.state = outer ? outer : s.state;
    u.healthy = s.healthy;
    u.addresses = std::move(s.addresses);
    u.mappings = std::move(s.mappings);
    out = std::move(u);
  } else if (name == "agent_added") {
    object(std::move(v), [&](auto key, od::value value) {
      AgentAdded e;
      if (key == "agent" && agent(std::move(value), e.agent)) out = std::move(e);
    });
  } else if (name == "agent_removed") {
    AgentRemoved e;
    object(std::move(v), [&](auto key, od::value value) {
      if (key == "agent_id") e.id = id(std::move(value));
    });
    if (broken) return;
    if (e.id.empty()) return problem("names no agent");
    out = std::move(e);
  } else if (name == "framework_added" || name == "framework_updated") {
    object(std::move(v), [&](auto key, od::value value) {
      FrameworkAdded e;
      if (key == "framework" && framework(std::move(value), e.framework)) out = std::move(e);
    });
  } else if (name == "framework_removed") {
    Framework f;
    bool ok = false;
    object(std::move(v), [&](auto key, od::value value) {
      if (key == "framework_info") ok = framework_info(std::move(value), f);
    });
    if (ok && !broken) out = FrameworkRemoved{f.id};
  }
}

void Walk::event(od::value root, Event& out) {
  static constexpr std::string_view kMembers[] = {
      "subscribed",    "get_state",       "task_added",        "task_updated",     "agent_added",
      "agent_removed", "framework_added", "framework_updated", "framework_removed"};
  std::string type;
  bool decoded = false;
  object(std::move(root), [&](auto key, od::value value) {
    if (key == "type") {
      if (auto s = text(std::move(value))) type = *s;
      return;
    }
    for (auto name : kMembers) {
      if (key != name || decoded) continue;
      decoded = true;
      at(name.data(), [&] { member(name, std::move(value), out); });
      return;
    }
  });
  if (type == "HEARTBEAT" && !decoded) out = Heartbeat{};
  if (auto* unknown = std::get_if<UnknownEvent>(&out)) unknown->type = type;
  name_problems(0, "event " + type);
}

/// Replaces what is not UTF-8 by '?' and bare control characters by blanks, so that the text can be read.
void repair(char* text, size_t size) {
  auto* p = reinterpret_cast<unsigned char*>(text);
  for (size_t i = 0; i < size;) {
    unsigned char c = p[i];
    if (c < 0x80) {
      if (c < 0x20) p[i] = ' ';
      i++;
      continue;
    }
    size_t length = c >= 0xc2 && c <= 0xdf ? 2 : c >= 0xe0 && c <= 0xef ? 3 : c >= 0xf0 && c <= 0xf4 ? 4 : 0;
    bool ok = length != 0 && i + length <= size;
    for (size_t k = 1; ok && k < length; k++) ok = (p[i + k] & 0xc0) == 0x80;
    // Over-long forms, surrogates, above U+10FFFF (RFC 3629 section 4).
    if (ok && length == 3) ok = !(c == 0xe0 && p[i + 1] < 0xa0) && !(c == 0xed && p[i + 1] > 0x9f);
    if (ok && length == 4) ok = !(c == 0xf0 && p[i + 1] < 0x90) && !(c == 0xf4 && p[i + 1] > 0x8f);
    if (!ok) p[i] = '?';
    i += ok ? length : 1;
  }
}

}  // namespace

struct RecordDecoder::Impl {
  od::parser parser;
};

RecordDecoder::RecordDecoder() : impl_(std::make_unique<Impl>()) {}
RecordDecoder::~RecordDecoder() = default;
RecordDecoder::RecordDecoder(RecordDecoder&&) noexcept = default;
RecordDecoder& RecordDecoder::operator=(RecordDecoder&&) noexcept = default;

Result<Decoded> RecordDecoder::decode(char* text, size_t size, size_t capacity) {
  if (capacity < size + kJsonPadding) return fail("decode a record: the buffer has no padding");
  simdjson::padded_string_view view(text, size, capacity);
  od::document document;
  auto error = impl_->parser.iterate(view).get(document);
  if (error == simdjson::UTF8_ERROR || error == simdjson::UNESCAPED_CHARS) {
    repair(text, size);
    error = impl_->parser.iterate(view).get(document);
  }
  auto give_back = [&] {
    if (size > kKeepIndexBytes) impl_ = std::make_unique<Impl>();
  };
  Decoded out{.event = UnknownEvent{}, .problems = {}};
  if (!error) {
    od::value root;
    error = document.get_value().get(root);
    od::json_type type;
    if (!error) error = root.type().get(type);
    if (!error && type != od::json_type::object) error = simdjson::INCORRECT_TYPE;
    if (!error) {
      Walk walk;
      walk.event(std::move(root), out.event);
      error = walk.broken;
      out.problems = std::move(walk.problems);
      out.problem_count = walk.problem_count;
    }
  }
  give_back();
  if (error) return fail(std::string("decode a record: ") + simdjson::error_message(error));
  return out;
}

Result<Decoded> RecordDecoder::decode(std::string& text) {
  size_t size = text.size();
  if (text.capacity() < size + kJsonPadding) text.reserve(size + kJsonPadding);
  // The bytes between size and capacity belong to the string; simdjson may look at them, and does not care what they are.
  return decode(text.data(), size, text.capacity());
}

}  // namespace ls
