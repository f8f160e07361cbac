#pragma once
/// A question that waits for an upstream, with what is needed to answer it then. Thread: the worker's.
#include "dns/responder.h"

namespace ls::dns {

struct Responder::Job {
  std::vector<uint8_t> packet;  ///< `query` points into it
  Query query;
  std::vector<uint8_t> alias;  ///< our part of the answer, when an alias leads outside
  std::vector<uint8_t> asked_packet;
  Query asked;  ///< what the upstream is asked then
  IpAddress client;
  AnswerLimits limits;
  Cookies cookies;
  bool exempt = false;
  Instant since;
  Send send;

  bool chase() const { return !alias.empty(); }
  const Query& question() const { return chase() ? asked : query; }
};

}  // namespace ls::dns
