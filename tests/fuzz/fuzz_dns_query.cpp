// Any packet as a question to a small set of zones: the answer is a message for ldns, within its limit, with the question's id and
// spelling. The first octet chooses transport and limits.
#include <cstdlib>
#include <cstring>

#include "dns_ldns.h"
#include "dns_world.h"

namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

ls::test::DnsWorld& world() {
  static ls::test::DnsWorld* w = [] {
    auto* made = new ls::test::DnsWorld;
    made->zone("mesos", ls::test::mesos_rules());
    made->zone("z", ls::test::resolver_rules());
    made->zone("p");
    made->zone(".");
    made->alias("q", "p");
    for (int i = 0; i < 60; ++i) made->add("p", "many.p", "A", "10.0.0." + std::to_string(i));
    for (int i = 0; i < 20; ++i) made->add("p", "s.p", "SRV", "0 0 " + std::to_string(i) + " many.p");
    made->add("p", "x.p", "CNAME", "y.z");
    made->add("z", "y.z", "CNAME", "x.p");
    made->add("z", "a.z", "CNAME", "many.p");
    made->add("z", "a.b.z", "TXT", std::string("\3abc\0", 5));
    made->add("mesos", "a.b.mesos", "A", "10.0.0.1");
    made->add("mesos", "s.mesos", "SRV", "1 2 3 a.b.mesos");
    return made;
  }();
  return *w;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace ls::dns;
  if (size < 1) return 0;
  const uint8_t choice = data[0];
  const std::vector<uint8_t> packet(data + 1, data + size);  // of its own, so that a read behind its end is seen
  Query query;
  const Parsed parsed = parse_query(packet, query);
  if (parsed.outcome == ParseOutcome::kIgnore) return 0;
  ls::test::DnsWorld& w = world();
  AnswerLimits limits;
  limits.tcp = choice & 1;
  limits.udp_max = choice & 2 ? 4096 : 1232;
  limits.truncate_bit = !(choice & 4);
  limits.random = choice;
  const std::vector<uint8_t> cookie(40, 7);
  if (choice & 8) limits.cookie = cookie;
  const size_t limit = size_limit(query, limits);
  std::vector<uint8_t> out(limit);
  size_t written = 0;
  bool question = true;
  {
    ls::Epoch::Guard guard(w.reader);
    if (parsed.outcome == ParseOutcome::kRcode) {
      question = parsed.question_readable;
      written = plain_answer(query, parsed.rcode, question, limits, out);
    } else {
      const Route route = w.routes().find(query.folded());
      require(route.zone != nullptr);
      if (query.type == 252) {
        const auto all = transfer(query, *route.zone);
        require(all.size() > 14);
        return 0;
      }
      const Answer answer = answer_from_zone(query, *route.zone, w.routes(), limits, out);
      written = answer.size;
    }
  }
  require(written >= kHeader && written <= limit);
  require(std::memcmp(out.data(), packet.data(), 2) == 0);
  require(out[2] & 0x80);
  if (question) require(written >= query.question_end && std::memcmp(out.data() + kHeader, packet.data() + kHeader, query.question_end - kHeader) == 0);
  const auto m = ls::test::read_message(std::span(out).first(written));
  require(m.has_value());
  require(m->question.size() == (question ? 1u : 0u));
  require(m->edns == query.edns.has_value());
  if (!limits.truncate_bit) require(!m->tc);
  return 0;
}
