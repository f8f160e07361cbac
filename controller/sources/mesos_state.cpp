#include "sources/mesos_state.h"

#include <simdjson.h>

#include <charconv>
#include <unordered_map>
#include <utility>

#include "sources/mesos_state_walk.h"

namespace ls {
namespace json {
namespace {

/// Stands for the id of a framework while its tasks are read, which may come before its id.
constexpr std::string_view kIdToCome = "?";

std::string_view trimmed(std::string_view s) {
  auto blank = [](char c) { return c == ' ' || (c >= '\t' && c <= '\r'); };
  while (!s.empty() && blank(s.front())) s.remove_prefix(1);
  while (!s.empty() && blank(s.back())) s.remove_suffix(1);
  return s;
}

std::optional<uint64_t> whole(std::string_view s) {
  uint64_t n = 0;
  auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), n);
  if (s.empty() || error != std::errc{} || end != s.data() + s.size()) return std::nullopt;
  return n;
}

}  // namespace

void StateWalk::port_ranges(std::string_view text, std::vector<PortRange>& out) {
  if (trimmed(text).empty()) return;
  auto open = text.find('['), close = text.find(']', open == text.npos ? 0 : open);
  if (open == text.npos || close == text.npos) return problem("is not a list of ranges in brackets");
  std::string_view list = text.substr(open + 1, close - open - 1);
  if (trimmed(list).empty()) return;
  while (true) {
    auto comma = list.find(',');
    std::string_view part = trimmed(list.substr(0, comma));
    auto dash = part.find('-');
    auto low = whole(part.substr(0, dash));
    auto high = dash == part.npos ? std::nullopt : whole(part.substr(dash + 1));
    if (!low || !high) {
      problem("\"" + std::string(part.substr(0, 40)) + "\" is not a range of ports");
    } else if (*low <= *high) {
      out.push_back({*low, *high});
    }
    if (comma == list.npos) return;
    list.remove_prefix(comma + 1);
  }
}

void StateWalk::resources(od::value v, std::vector<PortRange>& out) {
  object(std::move(v), [&](auto key, od::value value) {
    if (!is(key, "ports")) return;
    at("ports", [&] {
      if (auto s = text(std::move(value))) port_ranges(*s, out);
    });
  });
}

void StateWalk::task(od::value v, std::vector<Task>& out) {
  size_t first_problem = problems.size();
  Draft d;
  Task t;
  t.framework_id = shared(kIdToCome);
  object(std::move(v), [&](auto key, od::value value) {
    if (is(key, "id")) {
      text_into("id", std::move(value), t.id);
    } else if (is(key, "name")) {
      text_into("name", std::move(value), d.name);
    } else if (is(key, "slave_id")) {
      at("slave_id", [&] {
        if (auto s = text(std::move(value))) t.agent_id = shared(*s);
      });
    } else if (is(key, "state")) {
      at("state", [&] {
        if (auto s = text(std::move(value))) d.state = parse_mesos_state(*s);
      });
    } else if (is(key, "resources")) {
      at("resources", [&] { resources(std::move(value), d.spec->port_resources); });
    } else if (is(key, "discovery")) {
      at("discovery", [&] { discovery(std::move(value), *d.spec, NoNumber::kZero); });
    } else if (is(key, "labels")) {
      at("labels", [&] {
        label_list(std::move(value), [&](std::string k, std::string s) { vip_label(std::move(k), std::move(s), *d.spec); });
      });
    } else if (is(key, "container")) {
      at("container", [&] { container(std::move(value), *d.spec); });
    } else if (is(key, "health_check")) {
      d.spec->health_check = !is_null(value);
    } else if (is(key, "statuses")) {
      at("statuses", [&] {
        array(std::move(value), [&](od::value entry) {
          Status s = status(std::move(entry), true);
          if (!broken) add_status(std::move(s), t, d);
        });
      });
    }
  });
  if (finish(t, std::move(d), first_problem)) out.push_back(std::move(t));
}

/// A pid that is there but cannot be used is kept as a text that is none: the address is not to be guessed from elsewhere.
void StateWalk::pid(od::value v, std::string& out) {
  out = "(unusable)";
  if (is_null(v)) return problem("is null");
  auto s = text(std::move(v));
  if (!s) return;
  if (!host_of_pid(*s)) return problem("\"" + std::string(s->substr(0, 80)) + "\" has no host and port behind one @");
  out = *s;
}

void StateWalk::agent(od::value v, std::vector<Agent>& out, bool recovered) {
  size_t first_problem = problems.size();
  Agent a;
  bool has_pid = false;
  object(std::move(v), [&](auto key, od::value value) {
    if (is(key, "id")) {
      at("id", [&] {
        if (auto s = text(std::move(value))) a.id = shared(*s);
      });
    } else if (is(key, "hostname")) {
      text_into("hostname", std::move(value), a.hostname);
    } else if (is(key, "pid") && !recovered) {
      at("pid", [&] {
        pid(std::move(value), a.pid);
        has_pid = true;
      });
    }
  });
  if (broken) return;
  bool usable = !a.id.empty() && (recovered || host_of_pid(a.pid));
  if (a.id.empty()) {
    problem("has no agent id");
  } else if (!recovered && !has_pid) {
    problem("has no pid");
  }
  name_problems(first_problem, "agent " + a.id.str());
  if (usable) out.push_back(std::move(a));
}

void StateWalk::framework(od::value v, Snapshot& out, int index) {
  size_t first_problem = problems.size(), first_task = out.tasks.size();
  Framework f;
  object(std::move(v), [&](auto key, od::value value) {
    if (is(key, "id")) {
      at("id", [&] {
        if (auto s = text(std::move(value))) f.id = shared(*s);
      });
    } else if (is(key, "name")) {
      at("name", [&] {
        if (auto s = text(std::move(value))) f.name = shared(*s);
      });
    } else if (is(key, "hostname")) {
      text_into("hostname", std::move(value), f.hostname);
    } else if (is(key, "pid")) {
      at("pid", [&] { pid(std::move(value), f.pid); });
    } else if (is(key, "tasks")) {
      at("tasks", [&] { array(std::move(value), [&](od::value t) { task(std::move(t), out.tasks); }); });
    }
  });
  if (broken) return;
  // Nothing in the document depends on this id, so one that is missing is made up.
  if (f.id.empty()) f.id = shared("#" + std::to_string(index));
  // Mesos gives an id once; the reference publishes both where a document lists two (spec/mesos-dns-cases 01).
  std::unordered_map<std::string_view, uint16_t> copies;
  copies.reserve(out.tasks.size() - first_task);
  for (size_t i = first_task; i < out.tasks.size(); i++) {
    out.tasks[i].framework_id = f.id;
    out.tasks[i].copy = copies[out.tasks[i].id]++;
  }
  const std::string placeholder = "task " + std::string(kIdToCome) + "/";
  for (size_t i = first_problem; i < problems.size(); i++)
    if (auto& item = problems[i].item; item.starts_with(placeholder))
      item = "task " + f.id.str() + "/" + item.substr(placeholder.size());
  name_problems(first_problem, "framework " + f.id.str());
  // A framework without any member that can be read is none (`null`, a number, ...).
  if (f.id.view().starts_with("#") && f.name.empty() && first_task == out.tasks.size()) return;
  out.frameworks.push_back(std::move(f));
}

bool StateWalk::document(od::value root, Subscribed& out) {
  bool frameworks_read = false;
  object(std::move(root), [&](auto key, od::value value) {
    if (is(key, "leader")) {
      text_into("leader", std::move(value), out.leader);
    } else if (is(key, "slaves")) {
      at("slaves", [&] { array(std::move(value), [&](od::value a) { agent(std::move(a), out.snapshot.agents, false); }); });
    } else if (is(key, "recovered_slaves")) {
      at("recovered_slaves",
         [&] { array(std::move(value), [&](od::value a) { agent(std::move(a), out.snapshot.recovered_agents, true); }); });
    } else if (is(key, "frameworks") && !std::exchange(frameworks_read, true)) {
      int index = 0;
      at("frameworks", [&] { array(std::move(value), [&](od::value f) { framework(std::move(f), out.snapshot, index++); }); });
    }
  });
  name_problems(0, "state");
  return !out.leader.empty();
}

}  // namespace json

Result<Decoded> decode_mesos_state(char* text, size_t size, size_t capacity) {
  namespace od = simdjson::ondemand;
  if (capacity < size + kJsonPadding) return fail("decode a state: the buffer has no padding");
  od::parser parser;
  simdjson::padded_string_view view(text, size, capacity);
  od::document document;
  auto error = parser.iterate(view).get(document);
  if (error == simdjson::UTF8_ERROR || error == simdjson::UNESCAPED_CHARS) {
    json::repair(text, size);
    error = parser.iterate(view).get(document);
  }
  od::value root;
  if (!error) error = document.get_value().get(root);
  od::json_type type;
  if (!error) error = root.type().get(type);
  if (!error && type != od::json_type::object) error = simdjson::INCORRECT_TYPE;
  if (error) return fail(std::string("decode a state: ") + simdjson::error_message(error));
  json::StateWalk walk;
  Subscribed out;
  bool led = walk.document(std::move(root), out);
  if (walk.broken) return fail(std::string("decode a state: ") + simdjson::error_message(walk.broken));
  if (!led) return fail("decode a state: it names no leader");
  return Decoded{.event = std::move(out), .problems = std::move(walk.problems), .problem_count = walk.problem_count};
}

Result<Decoded> decode_mesos_state(std::string& text) {
  size_t size = text.size();
  if (text.capacity() < size + kJsonPadding) text.reserve(size + kJsonPadding);
  return decode_mesos_state(text.data(), size, text.capacity());
}

}  // namespace ls
