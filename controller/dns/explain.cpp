#include <optional>

#include "dns/responder_job.h"

namespace ls::dns {
namespace {

std::string rule_text(const Route& route, const Routes& routes) {
  if (route.forward) return "forward " + route.forward->zone.text();
  if (!route.zone) return "refused";
  std::string text = "zone " + route.zone->apex.text();
  if (!route.zone->is_alias) return text;
  for (const ZoneView& v : routes.views()) {
    if (!v.is_alias && v.table == route.zone->table)
      return "zone " + v.apex.text() + " as " + route.zone->apex.text();
  }
  return text;
}

}  // namespace

void Responder::explain(std::vector<uint8_t> packet, Epoch::Reader& reader,
                        std::function<void(Explained)> tell) {
  begin(s_.clock.now());
  Explained e;
  auto out = std::make_shared<std::vector<uint8_t>>(65535);
  Question question{packet, IpAddress::from_v4(0x7f000001), true};
  AnswerLimits l = limits(question);
  Parsed parsed = parse_query(packet, query_);
  Reply reply;
  if (parsed.outcome == ParseOutcome::kIgnore) {
    e.rule = "ignored: no question";
  } else if (parsed.outcome == ParseOutcome::kRcode) {
    e.rule = std::string(to_text(parsed.rcode)) + " by the message alone";
    reply = plain(query_, parsed.rcode, Path::kError, parsed.question_readable, l, *out);
  } else {
    Epoch::Guard guard(reader);
    Route route = routes_->find(query_.folded());
    e.rule = rule_text(route, *routes_);
    if (route.forward) e.cache_left_s = s_.cache.remaining(query_.folded(), query_.type, now_);
    reply = resolve(question, query_, l, *out);
    if (route.zone && (reply.path != Path::kZone || reply.next == Reply::Next::kForward))
      e.rule += ", alias to outside";
  }
  e.path = reply.path;
  if (reply.next == Reply::Next::kTransfer) {
    transfer_.clear();
    e.rule += ", transfer";
  }
  if (reply.next != Reply::Next::kForward) {
    if (reply.next == Reply::Next::kSend) e.answer.assign(out->begin(), out->begin() + reply.size);
    e.trace.source = std::string(to_text(reply.path));
    e.took_ms = std::chrono::duration<double, std::milli>(s_.clock.now() - now_).count();
    return tell(std::move(e));
  }
  auto job = make_job(packet, std::span<const uint8_t>(*out).first(reply.size), l);
  const Query& asked = job->question();
  s_.forwarder.ask(
      asked, *group_,
      [this, job, e = std::move(e), tell = std::move(tell)](std::span<const uint8_t> upstream,
                                                            const Forwarder::Trace* trace) mutable {
        Reply r = complete(*job, upstream);
        e.answer.assign(scratch_.begin(), scratch_.begin() + r.size);
        e.path = r.path;
        if (trace) e.trace = *trace;
        if (e.trace.source.starts_with("stale")) e.path = Path::kStale;
        e.took_ms = std::chrono::duration<double, std::milli>(s_.clock.now() - job->since).count();
        tell(std::move(e));
      },
      true);
}

}  // namespace ls::dns
