/// What strangers, operators and damaged disks give the overlay's allocator: a plan, the body of a delete, records of the store, what a
/// node sends and what it follows. What is accepted reads back as the same; records that contradict each other do not open; nothing has two
/// owners.
#include <string>

#include "overlay/allocation_record.h"
#include "overlay/allocator.h"
#include "overlay/node_wire.h"
#include "overlay_owners.h"
#include "util/log.h"

using namespace ls;
using namespace ls::overlay;

namespace {

using ls::fuzz::base_plan;
using ls::fuzz::Input;
using ls::fuzz::one_owner;
using ls::fuzz::require;

void plan(std::string_view text) {
  auto got = read_plan(text);
  if (!got) {
    require(!got.error().text().empty(), "a fault says what it is");
    return;
  }
  auto again = read_plan(plan_json(got->plan));
  require(again && again->plan == got->plan, "a plan reads back");
  require(nodes_by_vtep(got->plan) > 0, "a plan has room for a node");
  for (auto& o : got->plan.overlays) {
    auto c = capacity_of(o);
    require(c.agent_subnets > 0 && c.containers_per_half > 0, "an overlay has room");
    auto pool = o.v4 ? *o.v4 : *o.v6;
    require(pool.network.contains(c.first.address) && pool.network.contains(c.last.address), "the last block lies in the pool");
  }
}

/// What nodes send, and what they get and believe.
void wire(std::string_view text) {
  if (auto said = parse_registration(text)) {
    auto again = parse_registration(registration_text(*said));
    require(again && registration_text(*again) == registration_text(*said), "a registration reads back");
    auto store = make_memory_store();
    FakeClock clock;
    auto a = std::move(*Allocator::open(*store, clock, base_plan()));
    if (auto got = a->register_node(said->request)) {
      auto answer = parse_answer(answer_text({got->allocation, got->notes, a->plan()}));
      require(answer && answer->allocation == got->allocation && answer->plan == a->plan(), "an answer reads back");
    }
    auto ignored = a->report(said->request.node, said->reports);
    if (auto* n = a->find(said->request.node)) require(!agent_overlay_json(a->plan(), *n, 0).empty(), "a node has its JSON");
  }
  if (auto feed = parse_feed(text)) {
    auto again = parse_feed(feed_text(*feed));
    require(again && again->nodes == feed->nodes && again->removed == feed->removed && again->plan == feed->plan, "a feed reads back");
  }
  if (auto answer = parse_answer(text)) require(parse_answer(answer_text(*answer)).has_value(), "an answer reads back");
}

/// Lines "key<space>value" in the store.
void records(Input& in) {
  auto store = make_memory_store();
  bool has_plan = in.octet() % 2;
  if (has_plan) require(store->put(kStoreArea, kPlanKey, record_text(PlanRecord{base_plan(), {}})).has_value(), "a plan is kept");
  while (!in.empty()) {
    auto line = in.line();
    auto space = line.find(' ');
    require(store->put(kStoreArea, line.substr(0, space), space == line.npos ? "" : line.substr(space + 1)).has_value(), "a record is kept");
  }
  FakeClock clock;
  auto made = Allocator::open(*store, clock, base_plan());
  if (!made) {
    require(!made.error().text().empty(), "an error says what it is");
    return;
  }
  one_owner(**made);
  RegisterRequest q;
  q.node = IpAddress::from_v4(0x0a0000fe);
  auto ignored = (*made)->register_node(q);
  one_owner(**made);
}

void history(Input& in) {
  auto store = make_memory_store();
  FakeClock clock;
  AllocatorOptions options{.hold_down = Millis(in.octet() % 2 ? 1000 : 0), .takeover = Millis(500)};
  auto a = std::move(*Allocator::open(*store, clock, base_plan(), options));
  for (int step = 0; step < 60 && !in.empty(); step++) {
    auto what = in.octet();
    RegisterRequest q;
    q.node = IpAddress::from_v4(0x0a000000 + in.octet() % 32);
    switch (what % 6) {
      case 0:
      case 1:
      case 2:
        q.allocate_subnet = (what & 8) == 0;
        q.mesos_bridge = (what & 16) == 0;
        if (what & 32) q.id = in.line();
        if (what & 64) {
          q.holding.vtep4 = in.line();
          q.holding.vtep6 = in.line();
          auto name = in.line(), v4 = in.line(), v6 = in.line();
          q.holding.blocks.push_back({name, v4, v6});
        }
        if (auto got = a->register_node(q)) {
          auto* n = a->find(q.node);
          require(n && n->allocation == got->allocation, "what is answered is what is there");
          if (step % 8) break;  // making JSON costs more than everything else
          require(!agent_overlay_json(a->plan(), *n, 0).empty(), "a node has its JSON");
          auto again = parse_node_record(record_text(NodeRecord{got->allocation, false}), a->plan().oui);
          require(again && again->allocation == got->allocation, "a record reads back");
        }
        break;
      case 3: require(a->remove_nodes({&q.node, 1}).has_value() && !a->find(q.node), "a removed node is gone"); break;
      case 4: clock.advance(Millis(in.octet() * 10)); a->release_due(); break;
      case 5: {
        auto before = a->nodes().size();
        a.reset();
        a = std::move(*Allocator::open(*store, clock, std::nullopt, options));
        require(a->nodes().size() == before, "a restart loses nobody");
        break;
      }
    }
    one_owner(*a);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  log::set_level(log::Level::kError);
  Input in(data, size);
  switch (in.octet() % 5) {
    case 0: plan(in.all()); break;
    case 1: {
      auto got = parse_delete_body(in.all());
      require(got || !got.error().text().empty(), "a refused body says why");
      break;
    }
    case 2: records(in); break;
    case 3: history(in); break;
    case 4: wire(in.all()); break;
  }
  return 0;
}
