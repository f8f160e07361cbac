#include "app/last_good.h"

#include <fcntl.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <sstream>

#include "util/unique_fd.h"

namespace ls {
namespace {

constexpr std::string_view kMagic = "LSZONE1\n";

struct Head {
  uint16_t owner_size, type;
  uint32_t ttl;
  uint16_t rdata_size, reserved;
};
static_assert(sizeof(Head) == 12);

std::string digest(std::string_view bytes) {
  std::string out(SHA256_DIGEST_LENGTH, '\0');
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), reinterpret_cast<unsigned char*>(out.data()));
  return out;
}

Result<> write_all(int fd, std::string_view bytes) {
  while (!bytes.empty()) {
    ssize_t n = ::write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return fail(n < 0 ? errno : EIO, "write");
    bytes.remove_prefix(size_t(n));
  }
  return {};
}

}  // namespace

std::string encode_zone(const dns::ZoneTable& table) {
  std::string out(kMagic);
  out.reserve(out.size() + table.bytes() + SHA256_DIGEST_LENGTH);  // about what it takes; pages that are not reached cost nothing
  table.for_each([&](const dns::ZoneName& name) {
    name.for_each([&](dns::RrSet set) {
      for (size_t i = 0; i < set.count(); i++) {
        auto data = set.rdata(i);
        Head h{uint16_t(name.owner().size()), uint16_t(set.type()), set.ttl(), uint16_t(data.size()), 0};
        out.append(reinterpret_cast<const char*>(&h), sizeof h);
        out.append(name.owner());
        out.append(data);
      }
    });
  });
  out += digest(out);
  return out;
}

Result<> write_zone_file(const std::filesystem::path& file, const std::string& bytes) {
  auto beside = file;
  beside += ".new";
  UniqueFd fd(::open(beside.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0640));
  if (!fd) return fail(errno, "open " + beside.string());
  auto written = write_all(fd.get(), bytes);
  if (written && ::fdatasync(fd.get()) != 0) written = fail(errno, "synchronise");
  if (written && ::rename(beside.c_str(), file.c_str()) != 0) written = fail(errno, "rename to " + file.string());
  if (!written) {
    ::unlink(beside.c_str());
    return pass(std::move(written.error()), "write " + beside.string());
  }
  return {};
}

Result<std::vector<Record>> read_zone_file(const std::filesystem::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in) return fail(ENOENT, "open " + file.string());
  std::ostringstream text;
  text << in.rdbuf();
  std::string bytes = std::move(text).str();
  auto damaged = [&] { return fail(EBADMSG, "read " + file.string() + ": the checksum does not fit"); };
  if (bytes.size() < kMagic.size() + SHA256_DIGEST_LENGTH || !bytes.starts_with(kMagic)) return damaged();
  std::string_view body(bytes.data(), bytes.size() - SHA256_DIGEST_LENGTH);
  if (digest(body) != std::string_view(bytes).substr(body.size())) return damaged();
  body.remove_prefix(kMagic.size());
  std::vector<Record> out;
  while (!body.empty()) {
    Head h;
    if (body.size() < sizeof h) return damaged();
    std::memcpy(&h, body.data(), sizeof h);
    body.remove_prefix(sizeof h);
    if (body.size() < size_t(h.owner_size) + h.rdata_size) return damaged();
    Record r{std::string(body.substr(0, h.owner_size)), RrType(h.type), std::string(body.substr(h.owner_size, h.rdata_size)), h.ttl};
    body.remove_prefix(size_t(h.owner_size) + h.rdata_size);
    out.push_back(std::move(r));
  }
  return out;
}

}  // namespace ls
