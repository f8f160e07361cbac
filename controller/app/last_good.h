#pragma once
/// The records of a zone on disk, so that a restarted daemon answers as before until its source is back (lessons.md 35).
/// Thread: any, one call at a time for a file. Cost: O(zone). The file is written beside, synchronised and renamed; a checksum over
/// everything finds damage at any byte, and a damaged file counts as missing.
/// Layout: "LSZONE1\n", records (each: uint16 owner size, uint16 type, uint32 ttl, uint16 rdata size, uint16 zero, owner, rdata; in
/// the machine's byte order), SHA-256 of all before it. How often a record was given is not kept: the first complete state counts
/// anew.
#include <filesystem>
#include <optional>
#include <vector>

#include "derive/records.h"
#include "dns/zone_table.h"
#include "util/result.h"

namespace ls {

/// Inside an Epoch::Guard: the table as bytes of a file.
std::string encode_zone(const dns::ZoneTable& table);
Result<> write_zone_file(const std::filesystem::path& file, const std::string& bytes);
/// ENOENT: no file. EBADMSG: damaged.
Result<std::vector<Record>> read_zone_file(const std::filesystem::path& file);

}  // namespace ls
