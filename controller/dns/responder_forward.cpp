#include <algorithm>

#include "dns/chain.h"
#include "dns/responder_job.h"
#include "dns/wire_bytes.h"

namespace ls::dns {

std::shared_ptr<Responder::Job> Responder::make_job(std::span<const uint8_t> packet,
                                                    std::span<const uint8_t> written, const AnswerLimits& l) {
  auto job = std::make_shared<Job>();
  job->packet.assign(packet.begin(), packet.end());
  parse_query(job->packet, job->query);
  job->limits = l;
  job->limits.cookie = {};
  job->since = now_;
  if (chase_) {
    job->alias.assign(written.begin(), written.end());
    job->asked_packet = chain_question(job->query, target_, job->query.id);
    parse_query(job->asked_packet, job->asked);
  }
  return job;
}

void Responder::forward(const Question& question, std::span<const uint8_t> written, Send send) {
  auto job = make_job(question.packet, written, limits(question));
  job->client = question.client;
  cookies(job->query, question.client, job->limits, job->cookies);
  job->exempt = question.tcp || job->cookies.valid;
  job->send = std::move(send);
  const Query& asked = job->question();
  // Without being asked for, a trace comes with stale answers only.
  auto ready = [this, job = std::move(job)](std::span<const uint8_t> reply, const Forwarder::Trace* trace) {
    done(*job, reply, trace);
  };
  s_.forwarder.ask(asked, *group_, std::move(ready));
}

Reply Responder::complete(Job& job, std::span<const uint8_t> upstream) {
  const size_t limit = size_limit(job.query, job.limits);
  size_t size = 0;
  bool good = upstream.size() >= kHeader;
  Rcode rcode = good ? Rcode(upstream[3] & 0xf) : Rcode::kServFail;
  if (good && job.chase()) {
    good = rcode != Rcode::kServFail && rcode != Rcode::kRefused;
    if (good) {
      std::copy(job.alias.begin(), job.alias.end(), scratch_.begin());
      size = job.alias.size();
      good = append_chain(job.query, upstream, limit, job.limits.cookie, job.limits.udp_max, scratch_, size);
    }
  } else if (good) {
    good = fit_response(upstream, job.query, limit, scratch_, size, job.limits.cookie);
  }
  if (!good) {
    rcode = Rcode::kServFail;
    size = plain_answer(job.query, rcode, true, job.limits, scratch_, kRa);
  } else if (!job.limits.truncate_bit) {
    store16(scratch_.data() + 2, load16(scratch_.data() + 2) & ~kTc);
  }
  return {Reply::Next::kSend, rcode == Rcode::kServFail ? Path::kError : Path::kForward, rcode, size};
}

void Responder::done(Job& job, std::span<const uint8_t> upstream, const Forwarder::Trace* trace) {
  now_ = s_.clock.now();
  Reply reply = complete(job, upstream);
  if (trace && trace->source.starts_with("stale") && reply.path == Path::kForward) reply.path = Path::kStale;
  reply = finish(job.query, job.exempt, job.client, job.limits, scratch_, reply);
  if (reply.next == Reply::Next::kSend) counters_.observe(reply.path, now_ - job.since);
  Send send = std::move(job.send);
  send(std::span<const uint8_t>(scratch_).first(reply.next == Reply::Next::kSend ? reply.size : 0));
}

}  // namespace ls::dns
