#include <algorithm>

#include "dns/answer.h"
#include "dns/message_writer.h"

namespace ls::dns {
namespace {

constexpr size_t kFlushAt = 16'384;  // octets after which the next message begins: every pointer reaches the question

/// Messages one after the other, each with its length in front.
class Stream {
 public:
  Stream(const Query& query, const AnswerLimits& limits) : query_(query), limits_(limits), message_(65535) { begin(); }

  /// Calls `write` with the writer of the current message; again with an empty one when there was no room. A record that does not fit into
  /// a message of its own cannot be sent.
  template <class Write>
  void add(Write write) {
    if (writer_->size() >= kFlushAt) flush(), begin();
    if (write(*writer_) || writer_->count(Section::kAnswer) == 0) return;
    flush();
    begin();
    write(*writer_);
  }

  std::vector<uint8_t> end() {
    flush();
    return std::move(bytes_);
  }

 private:
  void begin() { writer_.emplace(query_, message_, message_.size() - kOptSize, true); }
  void flush() {
    const size_t size = writer_->finish(Rcode::kNoError, kAa, limits_.udp_max, {});
    bytes_.push_back(static_cast<uint8_t>(size >> 8));
    bytes_.push_back(static_cast<uint8_t>(size));
    bytes_.insert(bytes_.end(), message_.begin(), message_.begin() + static_cast<ptrdiff_t>(size));
  }

  const Query& query_;
  const AnswerLimits& limits_;
  std::vector<uint8_t> message_, bytes_;
  std::optional<MessageWriter> writer_;
};

std::vector<uint8_t> refused(const Query& query, Rcode rcode, const AnswerLimits& limits) {
  std::vector<uint8_t> bytes(2 + 512);
  const size_t size = plain_answer(query, rcode, true, limits, std::span(bytes).subspan(2));
  bytes[0] = static_cast<uint8_t>(size >> 8);
  bytes[1] = static_cast<uint8_t>(size);
  bytes.resize(2 + size);
  return bytes;
}

}  // namespace

std::vector<uint8_t> transfer(const Query& query, const ZoneView& view) {
  AnswerLimits limits;
  limits.tcp = true;
  if (!view.table->loaded()) return refused(query, Rcode::kServFail, limits);
  // Only the zone's own name can be transferred.
  if (query.folded() != view.apex.folded().wire()) return refused(query, Rcode::kRefused, limits);
  Stream stream(query, limits);
  const uint32_t serial = view.table->serial();
  const auto soa = [&] {
    stream.add([&](MessageWriter& w) { return w.soa(Section::kAnswer, kQuestionName, kQuestionName, view.soa.ttl, view, serial); });
  };
  soa();
  for (const DnsName& server : view.name_servers)
    stream.add([&](MessageWriter& w) {
      uint16_t unused;
      return w.record_with_name(Section::kAnswer, kQuestionName, RrType::kNs, view.ns_ttl, {}, server.wire(), unused);
    });
  view.table->for_each([&](const ZoneName& name) {
    if (name.owner().size() + view.apex.wire().size() > DnsName::kMaxWire) return;
    name.for_each([&](RrSet set) {
      const uint32_t ttl = set.ttl() ? set.ttl() : view.ttl;
      for (size_t i = 0; i < set.count(); ++i) {
        auto rdata = absolute_rdata(set.type(), set.rdata(i), view.apex);
        if (!rdata) continue;
        if (set.type() == RrType::kSrv && view.srv_override) {
          const auto [priority, weight] = *view.srv_override;
          const char numbers[4] = {static_cast<char>(priority >> 8), static_cast<char>(priority), static_cast<char>(weight >> 8),
                                   static_cast<char>(weight)};
          std::copy(numbers, numbers + 4, rdata->begin());
        }
        stream.add([&](MessageWriter& w) { return w.record_below(Section::kAnswer, name.owner(), kQuestionName, set.type(), ttl, *rdata); });
      }
    });
  });
  soa();
  return stream.end();
}

}  // namespace ls::dns
