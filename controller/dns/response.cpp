#include "dns/response.h"

#include "dns/forwarder.h"

#include <algorithm>
#include <cstring>

namespace ls::dns {

namespace {

constexpr uint16_t kDnssecOk = 0x8000, kCookieOption = 10, kOpcodeMask = 0x7800;
constexpr size_t kFixed = 10;  // type, class, TTL, length
constexpr uint8_t kPointer = 0xc0;

/// Reads the parts of one record's data, never beyond its end.
class Rdata {
 public:
  Rdata(std::span<const uint8_t> message, LabelMap& labels, size_t at, size_t size)
      : message_(message), labels_(labels), at_(at), end_(at + size) {}

  Rdata& octets(size_t n) {
    good_ = good_ && end_ - at_ >= n;
    if (good_) at_ += n;
    return *this;
  }
  Rdata& name() {
    size_t end = 0;
    good_ = good_ && at_ < end_ && read_name(message_, at_, end, &labels_) && end <= end_;
    if (good_) at_ = end;
    return *this;
  }
  /// One length octet and that many more (RFC 1035 3.3).
  Rdata& string() {
    good_ = good_ && at_ < end_ && end_ - at_ - 1 >= message_[at_];
    if (good_) at_ += size_t{1} + message_[at_];
    return *this;
  }
  bool strings_to_end() {
    if (at_ == end_) good_ = false;
    while (good_ && at_ < end_) string();
    return done();
  }
  /// Bitmap windows of RFC 4034 4.1.2.
  bool windows_to_end() {
    int last = -1;
    while (good_ && at_ < end_) {
      good_ = end_ - at_ >= 2 && message_[at_] > last && message_[at_ + 1] >= 1 && message_[at_ + 1] <= 32;
      if (!good_) break;
      last = message_[at_];
      octets(size_t{2} + message_[at_ + 1]);
    }
    return done();
  }
  bool at_least(size_t n) const { return good_ && end_ - at_ >= n; }
  bool done() const { return good_ && at_ == end_; }

 private:
  std::span<const uint8_t> message_;
  LabelMap& labels_;
  size_t at_, end_;
  bool good_ = true;
};

/// False when the data of a known type is not of its form. Types that are not known are octets without meaning (RFC 3597).
bool rdata_good(std::span<const uint8_t> message, LabelMap& labels, const ResponseRecord& r) {
  Rdata d(message, labels, r.rdata, r.rdata_size);
  switch (r.type) {
    case 1: return d.octets(4).done();                                      // A
    case 28: return d.octets(16).done();                                    // AAAA
    case 2: case 3: case 4: case 5: case 7: case 8: case 9: case 12: case 39:
      return d.name().done();                                               // NS, MD, MF, CNAME, MB, MG, MR, PTR, DNAME
    case 6: return d.name().name().octets(20).done();                       // SOA
    case 13: return d.string().string().done();                             // HINFO
    case 14: case 17: return d.name().name().done();                        // MINFO, RP
    case 15: case 18: case 21: case 36: return d.octets(2).name().done();   // MX, AFSDB, RT, KX
    case 16: case 99: return d.strings_to_end();                            // TXT, SPF
    case 26: return d.octets(2).name().name().done();                       // PX
    case 33: return d.octets(6).name().done();                              // SRV
    case 35: return d.octets(4).string().string().string().name().done();   // NAPTR
    case 43: return d.octets(4).at_least(1);                                // DS
    case 46: return d.octets(18).name().at_least(1);                        // RRSIG
    case 47: return d.name().windows_to_end();                              // NSEC
    case 48: return d.octets(4).at_least(1);                                // DNSKEY
    case 50: return d.octets(4).string().string().windows_to_end();         // NSEC3
    default: return true;
  }
}

bool read_options(std::span<const uint8_t> options, Edns& edns) {
  while (!options.empty()) {
    if (options.size() < 4) return false;
    const size_t length = get16(options.data() + 2);
    if (options.size() - 4 < length) return false;
    if (get16(options.data()) == kCookieOption && edns.client_cookie.empty() && length >= 8 && length <= 40) {
      edns.client_cookie = options.subspan(4, 8);
      edns.server_cookie = options.subspan(12, length - 8);
    }
    options = options.subspan(4 + length);
  }
  return true;
}

}  // namespace

bool read_name(std::span<const uint8_t> message, size_t at, size_t& end, LabelMap* labels, uint8_t* out, size_t* out_size) {
  size_t octets = 0, barrier = at;
  bool jumped = false;
  for (;;) {
    if (at >= message.size()) return false;
    const uint8_t length = message[at];
    if ((length & kPointer) == kPointer) {
      if (at + 1 >= message.size()) return false;
      const size_t target = static_cast<size_t>(length & ~kPointer) << 8 | message[at + 1];
      if (!jumped) end = at + 2;
      jumped = true;
      // Each pointer leads before the part of the name that it ends, so the way is finite.
      if (target >= barrier || target < kHeader || (labels && !labels->has(target))) return false;
      at = barrier = target;
      continue;
    }
    if (length > DnsName::kMaxLabel) return false;
    const size_t part = size_t{1} + length;
    if (octets + part > DnsName::kMaxWire || message.size() - at < part) return false;
    if (labels && !jumped) labels->mark(at);
    if (out) std::memcpy(out + octets, message.data() + at, part);
    octets += part;
    at += part;
    if (length == 0) break;
  }
  if (!jumped) end = at;
  if (out) {
    fold({out, octets});
    *out_size = octets;
  }
  return true;
}

bool Response::read(std::span<const uint8_t> bytes) {
  records.clear();
  edns.reset();
  has_question = false;
  question_name = {};
  question_type = question_class = 0;
  id = flags = 0;
  if (bytes.size() < kHeader || bytes.size() > 65535) return false;
  message = bytes;
  labels.reset(bytes.size());
  const uint8_t* header = bytes.data();
  id = get16(header);
  flags = get16(header + 2);
  rcode = static_cast<Rcode>(flags & 0xf);
  question_end = kHeader;
  const uint16_t questions = get16(header + 4);
  if (!(flags & kQr) || (flags & kOpcodeMask) || questions > 1) return false;
  if (questions == 1) {
    size_t end = 0;
    // No pointer can be here: nothing but the header lies before.
    if (!read_name(bytes, kHeader, end, &labels) || bytes.size() - end < 4) return false;
    question_name = bytes.subspan(kHeader, end - kHeader);
    question_type = get16(header + end);
    question_class = get16(header + end + 2);
    question_end = end + 4;
    has_question = true;
  }
  const size_t answers = get16(header + 6), authority = get16(header + 8), additional = get16(header + 10);
  size_t at = question_end;
  body_end = at;
  body_records = 0;
  for (size_t i = 0; i < answers + authority + additional; i++) {
    ResponseRecord r;
    size_t end = 0;
    if (!read_name(bytes, at, end, &labels) || bytes.size() - end < kFixed) return false;
    r.owner = static_cast<uint16_t>(at);
    r.fixed = static_cast<uint16_t>(end);
    r.type = get16(header + end);
    r.rrclass = get16(header + end + 2);
    r.ttl = get32(header + end + 4);
    r.rdata_size = get16(header + end + 8);
    if (bytes.size() - end - kFixed < r.rdata_size) return false;
    r.rdata = static_cast<uint16_t>(end + kFixed);
    r.section = i < answers ? Section::kAnswer : i < answers + authority ? Section::kAuthority : Section::kAdditional;
    at = r.end();
    if (r.type == static_cast<uint16_t>(RrType::kOpt)) {
      if (r.section != Section::kAdditional || bytes[r.owner] != 0 || edns) return false;
      Edns& e = edns.emplace();
      e.udp_size = std::max<uint16_t>(r.rrclass, 512);
      e.version = static_cast<uint8_t>(r.ttl >> 16);
      e.dnssec_ok = (r.ttl & kDnssecOk) != 0;
      rcode = static_cast<Rcode>((r.ttl >> 24) << 4 | (flags & 0xf));
      if (!read_options(bytes.subspan(r.rdata, r.rdata_size), e)) return false;
      continue;
    }
    if (!rdata_good(bytes, labels, r)) return false;
    records.push_back(r);
    // What comes behind OPT (a signature of the message, as a rule) is for this hop only.
    if (!edns) {
      body_end = at;
      body_records = records.size();
    }
  }
  return true;
}

bool Response::answers(const Query& query) const {
  if (!has_question || question_type != query.type || question_class != query.qclass || question_name.size() != query.name_size) return false;
  std::array<uint8_t, DnsName::kMaxWire> folded;
  std::memcpy(folded.data(), question_name.data(), question_name.size());
  fold({folded.data(), question_name.size()});
  return std::memcmp(folded.data(), query.folded_bytes.data(), query.name_size) == 0;
}

size_t Response::count(Section section) const {
  return static_cast<size_t>(std::count_if(records.begin(), records.begin() + static_cast<ptrdiff_t>(body_records),
                                           [&](const ResponseRecord& r) { return r.section == section; }));
}

size_t opt_size(const Query& query, std::span<const uint8_t> cookie) {
  if (!query.edns) return 0;
  return 11 + (cookie.empty() ? 0 : 4 + cookie.size());
}

size_t write_opt(const Query& query, std::span<const uint8_t> cookie, uint8_t* out) {
  if (!query.edns) return 0;
  out[0] = 0;
  put16(out + 1, static_cast<uint16_t>(RrType::kOpt));
  put16(out + 3, kUdpSize);
  put32(out + 5, query.edns->dnssec_ok ? kDnssecOk : 0);
  put16(out + 9, 0);
  if (cookie.empty()) return 11;
  put16(out + 9, static_cast<uint16_t>(4 + cookie.size()));
  put16(out + 11, kCookieOption);
  put16(out + 13, static_cast<uint16_t>(cookie.size()));
  std::memcpy(out + 15, cookie.data(), cookie.size());
  return 15 + cookie.size();
}

/// AA is not passed on: who forwards is no authority, and an answer looks the same from the cache.
uint16_t reply_flags(const Query& query, uint16_t flags) {
  const bool wants_ad = (query.flags & kAd) || (query.edns && query.edns->dnssec_ok);
  return static_cast<uint16_t>(kQr | kRa | (flags & (kTc | 0xf)) | (query.flags & (kRd | kCd)) | (wants_ad ? flags & kAd : 0));
}

bool write_reply(const Response& response, const Query& query, size_t limit, std::span<const uint8_t> cookie, std::span<uint8_t> out,
                 size_t& size) {
  limit = std::min(limit, out.size());
  const size_t opt = opt_size(query, cookie);
  if (!response.answers(query) || limit < response.question_end + opt) return false;
  const size_t room = limit - opt;
  size_t end = response.question_end, kept = 0;
  uint16_t counts[3] = {};
  while (kept < response.body_records && response.records[kept].end() <= room) {
    const ResponseRecord& r = response.records[kept++];
    end = r.end();
    counts[static_cast<size_t>(r.section)]++;
  }
  uint16_t flags = reply_flags(query, response.flags);
  if (kept < response.body_records) {
    // Missing answers are a truncation; so is the proof that there are none. Other authority and additional data are a courtesy.
    const Section first_lost = response.records[kept].section;
    if (first_lost == Section::kAnswer || (first_lost == Section::kAuthority && response.count(Section::kAnswer) == 0)) flags |= kTc;
  }
  uint8_t* to = out.data();
  std::memcpy(to, response.message.data(), end);
  put16(to, query.id);
  put16(to + 2, flags);
  put16(to + 4, 1);
  put16(to + 6, counts[0]);
  put16(to + 8, counts[1]);
  put16(to + 10, static_cast<uint16_t>(counts[2] + (opt ? 1 : 0)));
  std::memcpy(to + kHeader, query.name.data(), query.name_size);
  size = end + write_opt(query, cookie, to + end);
  return true;
}

bool fit_response(std::span<const uint8_t> message, const Query& query, size_t limit, std::span<uint8_t> out, size_t& size,
                  std::span<const uint8_t> cookie) {
  thread_local Response response;
  return response.read(message) && write_reply(response, query, limit, cookie, out, size);
}

}  // namespace ls::dns
