#include "tls_files.h"

#include <openssl/ssl.h>

#include <cstdlib>
#include <stdexcept>

namespace ls::converge {

TlsFiles::TlsFiles() {
  char name[] = "/tmp/ls-converge-XXXXXX";
  if (!mkdtemp(name)) throw std::runtime_error("no directory for certificates");
  dir_ = name;
  const auto certificate = [](const std::string& of) {
    return " && openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout " + of + ".key -out " + of + ".csr -subj /CN=" + of +
           " && openssl x509 -req -in " + of + ".csr -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names -out " + of + ".pem -days 2";
  };
  const std::string made =
      "(cd " + dir_.string() +
      " && echo subjectAltName=IP:127.0.0.1 > names && openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout ca.key -out "
      "ca.pem -subj /CN=ca -days 2" +
      certificate("hub") + certificate("node") + ") >/dev/null 2>&1";
  if (std::system(made.c_str()) != 0) throw std::runtime_error("openssl made no certificates in " + dir_.string());
  clients_ = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_mode(clients_, SSL_MODE_RELEASE_BUFFERS);
  SSL_CTX_load_verify_locations(clients_, file("ca.pem").c_str(), nullptr);
  SSL_CTX_set_verify(clients_, SSL_VERIFY_PEER, nullptr);
  if (SSL_CTX_use_certificate_chain_file(clients_, file("node.pem").c_str()) != 1 ||
      SSL_CTX_use_PrivateKey_file(clients_, file("node.key").c_str(), SSL_FILETYPE_PEM) != 1)
    throw std::runtime_error("the certificate of the followers cannot be read");
}

TlsFiles::~TlsFiles() {
  SSL_CTX_free(clients_);
  std::error_code ignored;
  std::filesystem::remove_all(dir_, ignored);
}

}  // namespace ls::converge
