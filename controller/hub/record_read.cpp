// Text to records: one pass over the text, each item complete or the record fails.
#include <fmt/format.h>
#include <simdjson.h>

#include <optional>

#include "hub/record.h"
#include "hub/record_text.h"

namespace ls::hub {
namespace {

namespace od = simdjson::ondemand;

/// What the keys of any record said.
struct Draft {
  std::string type, run, version;
  std::optional<uint64_t> seq, first, last;
  std::optional<int64_t> us;
  int64_t format = 0, beat_ms = 0;
  bool snapshot = false;
  std::optional<SourceHealth> source;
  std::vector<AgentChange> agents;
  std::vector<FrameworkChange> frameworks;
  std::vector<RecoveredChange> waited;
  std::vector<SharedText> recovered;
  std::vector<TaskChange> tasks;
};

struct Owner {
  SharedText id, name;
  bool known = false;
};
struct Place {
  SharedText id;
  IpAddress address;
};

class Reader {
 public:
  bool read(od::document& doc, Draft& d) {
    od::object all;
    if (!good(doc.get_object().get(all), "is not an object")) return false;
    if (!fields(all, [&](std::string_view key, od::value v) { return key_of(key, v, d); })) return false;
    if (doc.current_location().error() != simdjson::OUT_OF_BOUNDS) return wrong("text follows the record");
    return true;
  }
  std::string why() const { return fmt::format("{}: {}", where_.empty() ? "the record" : where_, why_); }

 private:
  // ---- values ----

  bool wrong(std::string_view why) {
    if (why_.empty()) why_ = why;
    return false;
  }
  bool good(simdjson::error_code e, std::string_view expected) {
    if (!e) return true;
    return wrong(e == simdjson::INCORRECT_TYPE ? std::string(expected) : fmt::format("{} ({})", expected, simdjson::error_message(e)));
  }
  template <class On>
  bool fields(od::object& object, On&& on) {
    for (auto item : object) {
      od::field f;
      if (!good(std::move(item).get(f), "is not readable")) return false;
      std::string_view key;
      if (!good(f.unescaped_key().get(key), "has a key that is no text")) return false;
      if (!on(key, od::value(f.value()))) return false;
    }
    return true;
  }
  /// on(index, value); what it leaves alone is skipped.
  template <class On>
  bool elements(od::value v, On&& on) {
    od::array a;
    if (!good(v.get_array().get(a), "is not a list")) return false;
    size_t index = 0;
    for (auto item : a) {
      od::value element;
      if (!good(std::move(item).get(element), "is not readable")) return false;
      if (!on(index++, element)) return false;
    }
    return true;
  }
  /// As elements(), and there must be `least` of them.
  template <class On>
  bool row(od::value v, size_t least, On&& on) {
    size_t count = 0;
    if (!elements(v, [&](size_t i, od::value e) {
          count++;
          return on(i, e);
        }))
      return false;
    return count >= least || wrong(fmt::format("has {} elements in place of {}", count, least));
  }
  /// Good until the next call, or as long as the record.
  bool text(od::value v, std::string_view& out) {
    const std::string_view token = v.raw_json_token();
    od::raw_json_string raw;
    if (token.size() < 2 || token.front() != '"') return wrong("is not a text");
    out = token.substr(1, token.find('"', 1) - 1);
    if (out.size() + 2 > token.size() || out.find('\\') != out.npos) {
      if (!good(v.get_string().get(out), "is not a text")) return false;
    } else if (!good(v.get_raw_json_string().get(raw), "is not a text")) {
      return false;
    }
    if (out.find(kOctet) == out.npos) return true;
    std::string restored;
    if (!restore_octets(out, restored)) return wrong("has U+F8FF without an octet");
    restored_ = std::move(restored);
    out = restored_;
    return true;
  }
  bool text(od::value v, std::string& out) {
    std::string_view t;
    if (!text(v, t)) return false;
    out = t;
    return true;
  }
  bool text(od::value v, SharedText& out) {
    std::string_view t;
    if (!text(v, t)) return false;
    out = SharedText(t);
    return true;
  }
  bool boolean(od::value v, bool& out) { return good(v.get_bool().get(out), "is not true or false"); }
  bool integer(od::value v, int64_t& out) { return good(v.get_int64().get(out), "is not a whole number"); }
  bool natural(od::value v, uint64_t& out) { return good(v.get_uint64().get(out), "is not a whole number"); }
  bool natural(od::value v, std::optional<uint64_t>& out) { return natural(v, out.emplace()); }
  template <class T>
  bool number(od::value v, T& out, uint64_t most) {
    uint64_t n = 0;
    if (!natural(v, n)) return false;
    if (n > most) return wrong(fmt::format("{} is above {}", n, most));
    out = static_cast<T>(n);
    return true;
  }
  bool address(od::value v, IpAddress& out) {
    std::string_view t;
    if (!text(v, t)) return false;
    auto parsed = t.empty() ? IpAddress() : IpAddress::parse(t);
    if (!parsed) return wrong(fmt::format("\"{}\" is no address", t.substr(0, 64)));
    out = *parsed;
    return true;
  }
  bool addresses(od::value v, std::vector<IpAddress>& out) {
    return elements(v, [&](size_t, od::value e) { return address(e, out.emplace_back()); });
  }
  bool protocol(od::value v, Protocol& out) {
    uint64_t n = 0;
    if (!natural(v, n)) return false;
    if (n != uint64_t(Protocol::kTcp) && n != uint64_t(Protocol::kUdp)) return wrong(fmt::format("{} is no protocol", n));
    out = Protocol(n);
    return true;
  }
  bool mappings(od::value v, std::vector<PortMapping>& out) {
    return elements(v, [&](size_t, od::value e) {
      auto& m = out.emplace_back();
      return row(e, 3, [&](size_t i, od::value x) {
        if (i == 0) return protocol(x, m.protocol);
        return i == 1 ? number(x, m.container_port, 65535) : i == 2 ? number(x, m.host_port, 65535) : true;
      });
    });
  }
  bool labels(od::value v, std::vector<VipLabel>& out) {
    return elements(v, [&](size_t, od::value e) {
      auto& l = out.emplace_back();
      return row(e, 2, [&](size_t i, od::value x) { return i == 0 ? text(x, l.key) : i == 1 ? text(x, l.value) : true; });
    });
  }

  // ---- descriptions ----

  bool port(od::value v, DiscoveryPort& p) {
    return row(v, 6, [&](size_t i, od::value x) {
      switch (i) {
        case 0:
          return integer(x, p.number);
        case 1:
          return number(x, p.index, 65535);
        case 2:
          return number(x, p.protocol, uint64_t(PortProtocol::kOther));
        case 3:
          return number(x, p.scope, uint64_t(PortScope::kInvalid));
        case 4:
          return boolean(x, p.named);
        case 5:
          return text(x, p.name);
        case 6:
          return labels(x, p.vips);
        case 7:
          return text(x, p.protocol_text);
        default:
          return true;
      }
    });
  }
  bool range(od::value v, PortRange& r) {
    return row(v, 2, [&](size_t i, od::value x) { return i == 0 ? natural(x, r.begin) : i == 1 ? natural(x, r.end) : true; });
  }
  bool spec(od::object& object, TaskSpec& s) {
    return fields(object, [&](std::string_view key, od::value v) {
      if (key == "n") return text(v, s.name);
      if (key == "o") {
        if (!renamed_told_) s.renamed = true;
        return text(v, s.task_name);
      }
      if (key == "on") {
        renamed_told_ = true;
        return boolean(v, s.renamed);
      }
      if (key == "d") return boolean(v, s.discovered);
      if (key == "p") return elements(v, [&](size_t, od::value e) { return port(e, s.ports.emplace_back()); });
      if (key == "m") return mappings(v, s.mappings);
      if (key == "r") return elements(v, [&](size_t, od::value e) { return range(e, s.port_resources.emplace_back()); });
      if (key == "l") return labels(v, s.vip_labels);
      if (key == "c") return number(v, s.runtime, uint64_t(Runtime::kDocker));
      if (key == "h") return boolean(v, s.health_check);
      if (key == "s") return boolean(v, s.mappings_from_status);
      return true;
    });
  }
  /// A definition, which gets the next number, or the number of one before.
  template <class T, class Read>
  bool defined(od::value v, std::vector<T>& known, T& out, Read&& read) {
    od::json_type type;
    if (!good(v.type().get(type), "is not readable")) return false;
    if (type != od::json_type::number) {
      if (!read(out)) return false;
      known.push_back(out);
      return true;
    }
    uint64_t n = 0;
    if (!natural(v, n)) return false;
    if (n >= known.size()) return wrong(fmt::format("refers to number {} of {}", n, known.size()));
    out = known[n];
    return true;
  }
  bool owner(od::value v, Owner& out) {
    return defined(v, owners_, out, [&](Owner& o) {
      return row(v, 1, [&](size_t i, od::value x) {
        if (i == 0) return text(x, o.id);
        if (i == 1) o.known = true;
        return i == 1 ? text(x, o.name) : i == 2 ? boolean(x, o.known) : true;
      });
    });
  }
  bool place(od::value v, Place& out) {
    return defined(v, places_, out, [&](Place& p) {
      return row(v, 1, [&](size_t i, od::value x) { return i == 0 ? text(x, p.id) : i == 1 ? address(x, p.address) : true; });
    });
  }
  bool description(od::value v, std::shared_ptr<const TaskSpec>& out) {
    return defined(v, specs_, out, [&](std::shared_ptr<const TaskSpec>& s) {
      od::object object;
      if (!good(v.get_object().get(object), "is no description")) return false;
      auto made = std::make_shared<TaskSpec>();
      renamed_told_ = false;
      if (!spec(object, *made)) return false;
      s = std::move(made);
      return true;
    });
  }

  // ---- rows ----

  bool running(od::value v, Task& t) {
    auto made = std::make_shared<RunningAddresses>();
    if (!row(v, 3, [&](size_t i, od::value x) {
          return i == 0 ? addresses(x, made->netinfo) : i == 1 ? addresses(x, made->docker) : i == 2 ? addresses(x, made->mesos) : true;
        }))
      return false;
    t.running = std::move(made);
    return true;
  }
  bool task_value(size_t i, od::value v, Task& t) {
    Owner o;
    Place p;
    switch (i) {
      case 0:
        return text(v, t.id);
      case 1:
        if (!owner(v, o)) return false;
        t.framework_id = std::move(o.id);
        t.framework_name = std::move(o.name);
        t.framework_known = o.known;
        return true;
      case 2:
        if (!place(v, p)) return false;
        t.agent_id = std::move(p.id);
        t.agent_address = p.address;
        return true;
      case 3:
        return description(v, t.spec);
      case 4:
        return number(v, t.state, uint64_t(MesosState::kOther));
      case 5:
        return number(v, t.health, uint64_t(Health::kUnhealthy));
      case 6:
        return good(v.get_double().get(t.running_at), "is not a number");
      case 7:
        return number(v, t.copy, 65535);
      case 8:
        return addresses(v, t.addresses);
      case 9:
        return mappings(v, t.status_mappings);
      case 10:
        return running(v, t);
      default:
        return true;
    }
  }
  bool task(od::value v, TaskChange& out) {
    auto t = std::make_shared<Task>();
    size_t count = 0;
    if (!elements(v, [&](size_t i, od::value x) {
          count++;
          if (i == 0) {
            od::json_type type;
            if (!good(x.type().get(type), "is not readable")) return false;
            out.removed = type == od::json_type::null;
            if (out.removed) return true;
          }
          if (!out.removed) return task_value(i, x, *t);
          return i == 1 ? text(x, t->id) : i == 2 ? text(x, t->framework_id) : i == 3 ? number(x, t->copy, 65535) : true;
        }))
      return false;
    if (count < (out.removed ? 3 : 5)) return wrong(fmt::format("has {} elements", count));
    if (t->framework_id.empty() && !out.removed && t->id.empty()) return wrong("has no id");
    out.after = std::move(t);
    return true;
  }
  bool agent(od::value v, AgentChange& a) {
    return row(v, 4, [&](size_t i, od::value x) {
      return i == 0 ? text(x, a.agent.id) : i == 1 ? text(x, a.agent.hostname) : i == 2 ? text(x, a.agent.pid) : i == 3 ? address(x, a.address) : true;
    });
  }
  bool framework(od::value v, Framework& f) {
    return row(v, 2, [&](size_t i, od::value x) {
      return i == 0 ? text(x, f.id) : i == 1 ? text(x, f.name) : i == 2 ? text(x, f.hostname) : i == 3 ? text(x, f.pid) : true;
    });
  }
  bool source(od::value v, SourceHealth& s) {
    od::object object;
    if (!good(v.get_object().get(object), "is not an object")) return false;
    return fields(object, [&](std::string_view key, od::value x) {
      if (key == "connected") return boolean(x, s.connected);
      if (key == "synced") return boolean(x, s.synced);
      if (key == "lost_ms") return integer(x, s.lost_ms);
      if (key == "leader") return text(x, s.leader);
      if (key == "masters") return elements(x, [&](size_t, od::value e) { return text(e, s.masters.emplace_back()); });
      if (key == "unreachable") return addresses(x, s.unreachable);
      return true;
    });
  }

  /// Each item of a list under its number, for errors.
  template <class On>
  bool items(std::string_view key, od::value v, On&& on) {
    return elements(v, [&](size_t i, od::value x) {
      if (on(x)) return true;
      where_ = fmt::format("{}[{}]", key, i);
      return false;
    });
  }
  bool key_of(std::string_view key, od::value v, Draft& d) {
    const bool read = value_of(key, v, d);
    if (!read && where_.empty()) where_ = key.substr(0, 64);
    return read;
  }
  bool value_of(std::string_view key, od::value v, Draft& d) {
    if (key == "t") return text(v, d.type);
    if (key == "seq") return natural(v, d.seq);
    if (key == "first") return natural(v, d.first);
    if (key == "last") return natural(v, d.last);
    if (key == "us") return integer(v, d.us.emplace());
    if (key == "format") return integer(v, d.format);
    if (key == "run") return text(v, d.run);
    if (key == "snapshot") return boolean(v, d.snapshot);
    if (key == "beat_ms") return integer(v, d.beat_ms);
    if (key == "version") return text(v, d.version);
    if (key == "source") return source(v, d.source.emplace());
    if (key == "agents") return items(key, v, [&](od::value x) { return agent(x, d.agents.emplace_back()); });
    if (key == "frameworks") return items(key, v, [&](od::value x) { return framework(x, d.frameworks.emplace_back().framework); });
    if (key == "tasks") return items(key, v, [&](od::value x) { return task(x, d.tasks.emplace_back()); });
    if (key == "recovered") return items(key, v, [&](od::value x) { return text(x, d.recovered.emplace_back()); });
    if (key == "agents_gone") {
      return items(key, v, [&](od::value x) {
        auto& a = d.agents.emplace_back();
        a.removed = true;
        return text(x, a.agent.id);
      });
    }
    if (key == "frameworks_gone") {
      return items(key, v, [&](od::value x) {
        auto& f = d.frameworks.emplace_back();
        f.removed = true;
        return text(x, f.framework.id);
      });
    }
    if (key == "waited") {
      return items(key, v, [&](od::value x) {
        auto& r = d.waited.emplace_back();
        return row(x, 2, [&](size_t i, od::value e) { return i == 0 ? text(e, r.id) : i == 1 ? boolean(e, r.waited_for) : true; });
      });
    }
    return true;
  }

  std::string where_, why_, restored_;
  bool renamed_told_ = false;
  std::vector<Owner> owners_;
  std::vector<Place> places_;
  std::vector<std::shared_ptr<const TaskSpec>> specs_;
};

Result<std::optional<Record>> record_of(Draft&& d) {
  auto missing = [&](std::string_view key) { return fail(fmt::format("read a record of a hub: {}: {} is missing", d.type, key)); };
  if (d.type.empty()) return fail("read a record of a hub: t is missing");
  if (d.type == "hello") {
    if (d.format < 1) return missing("format");
    if (d.run.empty() || d.run.size() > 64) return missing("run");
    if (!d.seq) return missing("seq");
    if (!d.us) return missing("us");
    return Record(Hello{int(std::min<int64_t>(d.format, 1 << 30)), {std::move(d.run), *d.seq}, d.snapshot, d.beat_ms, *d.us, std::move(d.version),
                        d.source ? std::move(*d.source) : SourceHealth()});
  }
  if (d.type == "beat") {
    if (!d.seq) return missing("seq");
    if (!d.us) return missing("us");
    return Record(Beat{*d.seq, *d.us, d.source ? std::move(*d.source) : SourceHealth()});
  }
  if (d.type == "snapshot") {
    if (!d.seq) return missing("seq");
    Image image{.seq = *d.seq, .agents = std::move(d.agents), .recovered = std::move(d.recovered), .frameworks = {}, .tasks = {}};
    for (auto& f : d.frameworks) image.frameworks.push_back(std::move(f.framework));
    image.tasks.reserve(d.tasks.size());
    for (auto& t : d.tasks) {
      if (t.removed) return fail("read a record of a hub: snapshot: tasks has one that is gone");
      image.tasks.push_back(std::move(t.after));
    }
    return Record(std::move(image));
  }
  if (d.type == "changes") {
    if (!d.first || *d.first == 0) return missing("first");
    if (!d.last) return missing("last");
    if (*d.last < *d.first) return fail(fmt::format("read a record of a hub: changes: last {} is before first {}", *d.last, *d.first));
    if (!d.us) return missing("us");
    return Record(Changes{*d.first, *d.last, *d.us, std::move(d.agents), std::move(d.frameworks), std::move(d.tasks), std::move(d.waited)});
  }
  return std::optional<Record>();
}

}  // namespace

Result<std::optional<Record>> decode(std::string_view text, size_t allocated) {
  if (allocated < text.size() + simdjson::SIMDJSON_PADDING) return fail("read a record of a hub: no padding behind it");
  // A parser holds what its largest document needed.
  static constexpr size_t kSmall = 64 << 10;
  static thread_local od::parser small;
  std::optional<od::parser> own;
  od::parser& parser = text.size() <= kSmall ? small : own.emplace();
  od::document doc;
  if (auto e = parser.iterate(text.data(), text.size(), allocated).get(doc))
    return fail(fmt::format("read a record of a hub: {}", simdjson::error_message(e)));
  Reader reader;
  Draft draft;
  if (!reader.read(doc, draft)) return fail("read a record of a hub: " + reader.why());
  return record_of(std::move(draft));
}

}  // namespace ls::hub
