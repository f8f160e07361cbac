#include "dns_lab.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <map>
#include <set>
#include <thread>

#include "dns/response.h"

namespace ls::test {
namespace {

void add16(Bytes& b, unsigned v) {
  b.push_back(uint8_t(v >> 8));
  b.push_back(uint8_t(v));
}

}  // namespace

Bytes wire_name(const std::string& text) {
  const auto name = DnsName::parse(text).value();
  return {name.wire().begin(), name.wire().end()};
}

Bytes cookie_option(std::span<const uint8_t> cookies) {
  Bytes b;
  add16(b, 10);
  add16(b, unsigned(cookies.size()));
  b.insert(b.end(), cookies.begin(), cookies.end());
  return b;
}

Bytes Question::bytes() const {
  Bytes b;
  add16(b, id);
  add16(b, flags);
  for (unsigned n : {1u, 0u, 0u, edns >= 0 ? 1u : 0u}) add16(b, n);
  const Bytes wire = wire_name(name);
  b.insert(b.end(), wire.begin(), wire.end());
  add16(b, type);
  add16(b, qclass);
  if (edns >= 0) {
    b.push_back(0);
    add16(b, 41);
    add16(b, unsigned(edns));
    add16(b, 0);
    add16(b, dnssec_ok ? 0x8000 : 0);
    add16(b, unsigned(options.size()));
    b.insert(b.end(), options.begin(), options.end());
  }
  return b;
}

std::string hex(const Bytes& b) {
  std::string out;
  char two[3];
  for (size_t i = 0; i < b.size(); i++) {
    std::snprintf(two, sizeof two, "%02x", b[i]);
    out += two;
    if (i % 4 == 3) out += ' ';
  }
  return out;
}

Bytes normal_form(const Bytes& message) {
  dns::Response r;
  if (!r.read(message)) return message;
  struct Part {
    Bytes key, octets;  // key: everything that must be equal but for rotation
    const dns::ResponseRecord* record;
  };
  std::vector<Part> parts;
  // An owner of an additional record that points at the target of an SRV record is taken for that target.
  std::map<size_t, Bytes> target_at;
  auto slice = [&](size_t from, size_t to) { return Bytes(message.begin() + long(from), message.begin() + long(to)); };
  for (auto& rec : r.records)
    if (rec.type == 33 && rec.section == dns::Section::kAnswer) target_at[rec.rdata + 6u] = slice(rec.rdata + 6u, rec.end());
  for (auto& rec : r.records) {
    Bytes owner = slice(rec.owner, rec.fixed);
    if (owner.size() == 2 && (owner[0] & 0xc0) == 0xc0) {
      const size_t to = size_t(owner[0] & 0x3f) << 8 | owner[1];
      if (auto it = target_at.find(to); it != target_at.end()) owner = it->second, owner.push_back('*');
    }
    Part p{owner, owner, &rec};
    const Bytes fixed = slice(rec.fixed, rec.rdata), all = slice(rec.fixed, rec.end());
    p.key.push_back(uint8_t(rec.section));
    p.key.insert(p.key.end(), fixed.begin(), fixed.begin() + 8);  // type, class, TTL
    p.octets.insert(p.octets.end(), all.begin(), all.end());
    parts.push_back(std::move(p));
  }
  // Runs of one set change places inside; the blocks of an SRV answer's targets change places as wholes.
  auto in_run = [](const Part& a, const Part& b) { return a.key == b.key; };
  for (size_t i = 0; i < parts.size();) {
    size_t end = i + 1;
    while (end < parts.size() && in_run(parts[i], parts[end])) end++;
    std::sort(parts.begin() + long(i), parts.begin() + long(end), [](auto& a, auto& b) { return a.octets < b.octets; });
    i = end;
  }
  if (!target_at.empty())
    std::stable_sort(parts.begin(), parts.end(), [](const Part& a, const Part& b) {
      const bool x = a.record->section == dns::Section::kAdditional, y = b.record->section == dns::Section::kAdditional;
      if (x != y) return y;
      return x && Bytes(a.octets.begin(), a.octets.begin() + long(a.key.size() - 9)) < Bytes(b.octets.begin(), b.octets.begin() + long(b.key.size() - 9));
    });
  Bytes out(message.begin(), message.begin() + long(r.question_end));
  for (auto& p : parts) out.insert(out.end(), p.octets.begin(), p.octets.end());
  out.insert(out.end(), message.begin() + long(r.records.empty() ? r.question_end : r.records.back().end()), message.end());
  return out;
}

DnsProcess::DnsProcess(Epoch& epoch)
    : cache(dns::CacheOptions{.prefetch = false, .hot = [this](dns::HotAnswer&& h) { hot.push_back(std::move(h)); }}), upstreams_({}), forwarder_(io_, upstreams_, cache, clock, {}), reader_(epoch), room_(65535) {
  set_options({});
}

void DnsProcess::set_routes(std::shared_ptr<const dns::Routes> routes) {
  service_->routes.publish(std::move(routes));
  service_->routes_version.fetch_add(1);
}

void DnsProcess::set_options(dns::ServiceOptions options) {
  std::shared_ptr<const dns::Routes> routes = service_ ? service_->routes.get() : std::make_shared<const dns::Routes>();
  responder_.reset();
  service_ = std::make_unique<dns::Service>(options);
  responder_ = std::make_unique<dns::Responder>(dns::Responder::Shared{*service_, cache, forwarder_, clock, secret, LS_DNS_MESSAGE_MAX});
  set_routes(std::move(routes));
}

DnsProcess::Said DnsProcess::answer(const Bytes& packet, const IpAddress& client, Instant now) {
  responder_->begin(now);
  Epoch::Guard guard(reader_);
  Said said;
  said.reply = responder_->answer({packet, client, false}, room_);
  if (said.reply.next == dns::Reply::Next::kSend) said.message.assign(room_.begin(), room_.begin() + long(said.reply.size));
  return said;
}

DnsLab::DnsLab(DnsBench& b, DnsWorld* zones)
    : own_(zones ? nullptr : std::make_unique<DnsWorld>()), world(zones ? *zones : *own_), bench(b), process(world.epoch) {
  std::copy_n(bench.conf().cookie_secret, 16, process.secret.begin());
  if (!bench.listen(how.dst, how.dport, 1)) ADD_FAILURE() << "no place for the address";
}

void DnsLab::fill(dns::ServiceKind kind, const std::vector<std::string>& incomplete) {
  world.rebuild();
  const dns::Routes& shown = world.routes();
  std::map<const dns::ZoneTable*, uint32_t> spaces;
  dns::KernelBody body;
  Epoch::Guard guard(world.reader);
  for (auto& view : shown.views()) {
    if (spaces.contains(view.table.get())) continue;
    const uint32_t space = spaces[view.table.get()] = LS_DNS_SPACE_ZONE | uint32_t(spaces.size() + 1);
    view.table->for_each([&](const dns::ZoneName& name) {
      dns::kernel_name(name, [&](std::string_view relative) { return bench.hash({space, 0, relative}); }, body);
      if (!bench.put({space, 0, name.owner()}, body.flags, body.sets, body.octets)) ADD_FAILURE() << "no room for a name";
    });
  }
  auto& service = bench.conf().service[size_t(kind)];
  uint32_t number = 0;
  auto put_view = [&](std::string_view suffix) {
    service.suffixes[suffix.size() / 64] |= uint64_t{1} << suffix.size() % 64;
    if (!bench.put({LS_DNS_SPACE_VIEW + uint32_t(kind), 0, suffix}, body.flags, body.sets, body.octets)) ADD_FAILURE() << "no room for a view";
  };
  for (auto& view : shown.views()) {
    const DnsName apex = view.apex.folded();
    bool nested = false;
    for (auto& other : shown.views()) nested = nested || (other.apex != view.apex && other.apex.is_within(view.apex));
    for (auto& group : shown.groups()) nested = nested || (group.zone != view.apex && group.zone.is_within(view.apex));
    const bool complete = view.table->loaded() && std::find(incomplete.begin(), incomplete.end(), view.apex.text()) == incomplete.end();
    dns::kernel_view(view, spaces.at(view.table.get()), LS_DNS_SPACE_READY + ++number, complete, nested, body);
    put_view(apex.wire());
  }
  for (auto& group : shown.groups()) {
    dns::kernel_view(group, body);
    put_view(group.zone.folded().wire());
  }
  process.set_routes(std::make_shared<const dns::Routes>(world.views, world.groups));
}

void DnsLab::mirror(dns::ServiceKind kind) {
  mirror_ = std::make_unique<dns::KernelMirror>(bench, world.epoch, std::vector<DnsName>{name_of("ready.spartan").folded()});
  auto routes = std::make_shared<const dns::Routes>(world.views, world.groups);
  mirror_->set_routes(kind, routes);
  mirror_->settled();
  std::ranges::copy(mirror_->suffixes(kind), bench.conf().service[size_t(kind)].suffixes);
  process.set_routes(routes);
}

void DnsLab::keep(const Bytes& message, Instant stored) {
  process.cache.store(message, false, false, stored);
  process.hot.clear();
  Bytes question(message);
  question[2] = 1, question[3] = 0;
  std::fill(question.begin() + 6, question.begin() + 12, 0);
  for (int i = 0; i < 5; i++) process.answer(question, client);
  EXPECT_EQ(process.hot.size(), 1u);
  for (auto& h : process.hot) mirror_->put_cached(h.message, h.stored_ns, h.expires_ns);
}

/// Cookies have the second in them: both sides are asked in the middle of one.
void DnsLab::wait_for_middle_of_second() {
  timespec wall;
  clock_gettime(CLOCK_REALTIME, &wall);
  const long ms = wall.tv_nsec / 1'000'000;
  if (ms >= 40 && ms < 900) return;
  std::this_thread::sleep_for(std::chrono::milliseconds((ms < 40 ? 50 : 1050) - ms));
}

std::string DnsLab::differs(const Bytes& packet, bool* up, std::string_view program) {
  std::string difference;
  // Who is put aside between the two questions for more than a tenth of a second asks again.
  for (int tries = 0; tries < 3; tries++) {
    wait_for_middle_of_second();
    const auto began = std::chrono::steady_clock::now();
    const DnsOut out = bench.ask(program, packet, how);
    asked++;
    if (!out.wrong.empty()) return std::string(program) + ": " + out.wrong;
    if (up) *up = !out.answered;
    if (!out.answered) return "";
    const DnsProcess::Said said = process.answer(packet, *IpAddress::parse(how.src));
    if (said.reply.next != dns::Reply::Next::kSend) return "the process sends nothing, the kernel " + hex(out.message);
    if (out.message == said.message || normal_form(out.message) == normal_form(said.message)) return "";
    difference = "question " + hex(packet) + "\n  kernel  " + hex(out.message) + "\n  process " + hex(said.message);
    if (std::chrono::steady_clock::now() - began < std::chrono::milliseconds(90)) return difference;
  }
  return difference;
}

Bytes DnsLab::kernel(const Question& q, std::string_view program) {
  const auto before = bench.stats();
  const DnsOut out = bench.ask(program, q.bytes(), how);
  EXPECT_EQ(out.wrong, "") << q.name;
  EXPECT_TRUE(out.answered) << q.name << ": " << counted(before, bench.stats());
  return out.message;
}

}  // namespace ls::test
