#pragma once
/// The answer of a foreign Mesos-DNS to GET /v1/axfr, to the records of `mesos.thisdcos.directory` (spec/spartan-dns.md 5.3).
/// Pure, thread: any. Cost: one parse, O(document).
#include <string>
#include <string_view>
#include <vector>

#include "derive/mesos_zone.h"
#include "util/result.h"

namespace ls {

struct ImportedZone {
  std::string domain;  ///< of the source, folded, without trailing dot
  /// Relative to whatever apex is to take its place; sorted, each once. TTL 5 s; SRV with priority 1 and weight 1.
  std::vector<Record> records;
  std::vector<ZoneProblem> problems;  ///< the first 100; `item` is the name, `field` the member of Records
  size_t problem_count = 0;
};

/// Errors: no JSON object, or no usable `Domain`. Everything else that is wrong leaves out that entry alone: names and targets
/// outside the domain or that no message can carry, what is no address of the list's family, ports that are none. Port 0 is
/// left out too: nobody can dial it.
Result<ImportedZone> import_mesos_zone(std::string_view json);

}  // namespace ls
