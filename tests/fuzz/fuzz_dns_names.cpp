// Names: any octets as wire form and as text, held against ldns.
#include <ldns/ldns.h>

#include <cstdlib>
#include <string>

#include "util/dns_name.h"

namespace {

void require(bool ok) {
  if (!ok) std::abort();
}

std::string ldns_text(std::string_view wire) {
  ldns_rdf* rdf = ldns_dname_new_frm_data(static_cast<uint16_t>(wire.size()), wire.data());
  char* text = ldns_rdf2str(rdf);
  std::string out = text;
  free(text);
  ldns_rdf_deep_free(rdf);
  return out;
}

std::string ldns_wire(const std::string& text, bool& good) {
  ldns_rdf* rdf = nullptr;
  good = ldns_str2rdf_dname(&rdf, text.c_str()) == LDNS_STATUS_OK;
  if (!good) return {};
  std::string out(reinterpret_cast<const char*>(ldns_rdf_data(rdf)), ldns_rdf_size(rdf));
  ldns_rdf_deep_free(rdf);
  return out;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using ls::DnsName;
  if (const auto name = DnsName::from_wire({data, size})) {
    bool good = false;
    require(ldns_wire(name->text(), good) == name->wire() && good);
    const auto back = DnsName::parse(name->text());
    require(back && *back == *name);
    const auto theirs = DnsName::parse(ldns_text(name->wire()));
    require(theirs && *theirs == *name);
    const DnsName folded = name->folded();
    require(folded.is_within(*name) && name->is_within(folded) && folded.folded() == folded);
    std::string in_place(name->wire());
    ls::fold({reinterpret_cast<uint8_t*>(in_place.data()), in_place.size()});
    require(in_place == folded.wire());
    require(DnsName::join(name->relative_to(DnsName()), DnsName()) == folded);
  }
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto parsed = DnsName::parse(text);
  if (parsed) {
    require(DnsName::from_wire({reinterpret_cast<const uint8_t*>(parsed->wire().data()), parsed->wire().size()}) == *parsed);
    require(DnsName::parse(parsed->text()) == *parsed);
    // ldns ends at a zero octet.
    bool good = false;
    if (text.find('\0') == std::string::npos) {
      std::string theirs = ldns_wire(text, good);
      if (good) require(theirs == parsed->wire() || theirs + '\0' == parsed->wire());
    }
  }
  if (const auto relative = ls::relative_name(text)) {
    require(relative->size() <= 254);
    require(DnsName::join(*relative, DnsName()).has_value());
  }
  return 0;
}
