#pragma once
/// An authority, and certificates of it for a hub and for its followers, in a directory that goes with this.
#include <filesystem>
#include <string>

struct ssl_ctx_st;

namespace ls::converge {

class TlsFiles {
 public:
  TlsFiles();
  ~TlsFiles();
  TlsFiles(const TlsFiles&) = delete;
  TlsFiles& operator=(const TlsFiles&) = delete;

  std::string file(const std::string& name) const { return dir_ / name; }  ///< ca.pem, hub.pem, hub.key, node.pem, node.key
  ssl_ctx_st* clients() const { return clients_; }

 private:
  std::filesystem::path dir_;
  ssl_ctx_st* clients_ = nullptr;
};

}  // namespace ls::converge
