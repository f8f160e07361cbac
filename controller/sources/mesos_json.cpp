#include "sources/mesos_json.h"

#include <simdjson.h>

#include <utility>

#include "sources/mesos_state_walk.h"

namespace ls {
namespace {

namespace od = simdjson::ondemand;
static_assert(kJsonPadding >= simdjson::SIMDJSON_PADDING);

/// One pass over one record.
class Walk : public json::Parts {
 public:
  void event(od::value root, Event& out);
  bool state_document = false;  ///< it is none of these, but an answer of /master/state

 private:
  void resource(od::value v, std::vector<PortRange>& out);
  bool task(od::value v, Task& out);
  bool agent_info(od::value v, Agent& out);
  bool agent(od::value v, Agent& out);
  bool framework_info(od::value v, Framework& out);
  bool framework(od::value v, Framework& out);
  template <class T, class Read>
  void list(od::value v, std::vector<T>& out, Read&& read);
  void snapshot(od::value v, Snapshot& out);
  void member(std::string_view name, od::value v, Event& out);
};

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

bool Walk::task(od::value v, Task& out) {
  size_t first_problem = problems.size();
  Draft d;
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "task_id") {
      at("task_id", [&] { out.id = own_id(std::move(value)); });
    } else if (key == "framework_id") {
      at("framework_id", [&] { out.framework_id = id(std::move(value)); });
    } else if (key == "agent_id") {
      at("agent_id", [&] { out.agent_id = id(std::move(value)); });
    } else if (key == "name") {
      text_into("name", std::move(value), d.name);
    } else if (key == "state") {
      at("state", [&] {
        if (auto s = text(std::move(value))) d.state = parse_mesos_state(*s);
      });
    } else if (key == "discovery") {
      at("discovery", [&] { discovery(std::move(value), *d.spec, NoNumber::kDropped); });
    } else if (key == "labels") {
      at("labels", [&] {
        labels(std::move(value), [&](std::string k, std::string t) { vip_label(std::move(k), std::move(t), *d.spec); });
      });
    } else if (key == "resources") {
      at("resources", [&] {
        array(std::move(value), [&](od::value r) { resource(std::move(r), d.spec->port_resources); });
      });
    } else if (key == "container") {
      at("container", [&] { container(std::move(value), *d.spec); });
    } else if (key == "health_check") {
      d.spec->health_check = !is_null(value);
    } else if (key == "statuses") {
      at("statuses", [&] {
        array(std::move(value), [&](od::value entry) {
          Status s = status(std::move(entry), false);
          if (!broken) add_status(std::move(s), out, d);
        });
      });
    }
  });
  return finish(out, std::move(d), first_problem);
}

bool Walk::agent_info(od::value v, Agent& out) {
  object(std::move(v), [&](auto key, od::value value) {
    if (key == "id") {
      at("id", [&] { out.id = id(std::move(value)); });
    } else if (key == "hostname") {
      text_into("hostname", std::move(value), out.hostname);
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
      text_into("pid", std::move(value), out.pid);
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
    } else if (key == "hostname") {
      text_into("hostname", std::move(value), out.hostname);
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
        at("status", [&] { s = status(std::move(value), false); });
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
    u.running_at = s.running_at;
    u.running = std::move(s.running);
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
    if (!decoded && json::StateWalk::known_by(key)) {
      state_document = true;
      broken = simdjson::UNEXPECTED_ERROR;  // nothing more is to be read here
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

}  // namespace

struct RecordDecoder::Impl {
  od::parser parser;
};

RecordDecoder::RecordDecoder() : impl_(std::make_unique<Impl>()) {}
RecordDecoder::~RecordDecoder() = default;
RecordDecoder::RecordDecoder(RecordDecoder&&) noexcept = default;
RecordDecoder& RecordDecoder::operator=(RecordDecoder&&) noexcept = default;

namespace {

/// The record turned out to be an answer of /master/state: from its beginning.
template <class GiveBack>
Result<Decoded> read_state(od::document& document, GiveBack&& give_back) {
  document.rewind();
  od::value root;
  auto error = document.get_value().get(root);
  json::StateWalk walk;
  Subscribed out;
  bool led = !error && walk.document(std::move(root), out);
  if (!error) error = walk.broken;
  give_back();
  if (error) return fail(std::string("decode a state: ") + simdjson::error_message(error));
  if (!led) return fail("decode a state: it names no leader");
  return Decoded{.event = std::move(out), .problems = std::move(walk.problems), .problem_count = walk.problem_count};
}

}  // namespace

Result<Decoded> RecordDecoder::decode(char* text, size_t size, size_t capacity) {
  if (capacity < size + kJsonPadding) return fail("decode a record: the buffer has no padding");
  simdjson::padded_string_view view(text, size, capacity);
  od::document document;
  auto error = impl_->parser.iterate(view).get(document);
  if (error == simdjson::UTF8_ERROR || error == simdjson::UNESCAPED_CHARS) {
    json::repair(text, size);
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
      if (walk.state_document) return read_state(document, give_back);
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
