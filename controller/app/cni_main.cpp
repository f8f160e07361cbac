// loadstar-cni(8): the CNI plugin. Everything it does is in controller/cni.
#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>

#include "cni/deadline.h"
#include "cni/keeper.h"
#include "cni/plugin.h"

namespace {

using namespace ls::cni;

/// Standard input to its end, or one octet more than may be.
Outcome<std::string> read_input() {
  std::string out;
  char buffer[16384];
  for (;;) {
    ssize_t n = read(STDIN_FILENO, buffer, sizeof buffer);
    if (n == 0) return out;
    if (n < 0 && errno == EINTR) {
      if (Deadline::passed()) return refuse(Code::kIo, "standard input does not end");
      continue;
    }
    if (n < 0) return refuse(Code::kIo, fmt::format("read standard input: {}", std::strerror(errno)));
    out.append(buffer, size_t(n));
    if (out.size() > kMaxInput) return out;
  }
}

bool print(std::string_view text) {
  while (!text.empty()) {
    ssize_t n = write(STDOUT_FILENO, text.data(), text.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return false;
    text.remove_prefix(size_t(n));
  }
  return true;
}

std::string_view file_name(std::string_view path) { return path.substr(path.find_last_of('/') + 1); }

/// For the daemon's unit, whose user may not read the plugin's files: makes the entries again that are missing in the daemon's maps.
int restore(int argc, char** argv) {
  ls::cni::OrphanSearch defaults;
  auto data_dir = argc > 2 ? std::filesystem::path(argv[2]) : defaults.data_dir;
  auto pin = argc > 3 ? std::string(argv[3]) : defaults.pin;
  if (argc > 4) {
    std::fputs("loadstar-cni --restore [DATA_DIR [PIN]]\n", stderr);
    return 2;
  }
  Deadline::set(Config().timeout);
  auto r = restore_entries(data_dir, pin);
  auto failed = [](const std::string& why) {
    std::fprintf(stderr, "loadstar-cni: restore entries: %s\n", why.c_str());
    return 1;
  };
  if (!r) return failed(r.error().msg);
  if (r->problems) return failed(fmt::format("{} of {} attachments: {}", r->problems, r->attachments, r->first_problem));
  std::printf("%zu attachments\n", r->attachments);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--version") {
    std::puts("loadstar-cni " LS_VERSION);
    return 0;
  }
  if (argc > 1 && std::string_view(argv[1]) == "--restore") return restore(argc, argv);
  auto environment = Environment::from([](const char* name) -> const char* { return std::getenv(name); });
  if (argc > 1 || (environment.command.empty() && isatty(STDIN_FILENO))) {
    std::fputs("loadstar-cni is a CNI plugin: a container runtime starts it with CNI_COMMAND in its environment and a\n"
               "configuration on standard input; see loadstar-cni(8). --version prints the version, --restore [DATA_DIR [PIN]]\n"
               "makes the entries of all attachments again in the maps of loadstard.\n", stderr);
    return 2;
  }
  Deadline::set(Config().timeout);
  auto input = read_input();
  std::string out;
  int status = 1;
  if (input) status = run_plugin(environment, *input, file_name(argc > 0 ? argv[0] : ""), out);
  else out = error_document(to_text(kNewest), input.error()) + "\n";
  if (!print(out) && status == 0) {
    std::fprintf(stderr, "loadstar-cni: write standard output: %s\n", std::strerror(errno));
    return 1;
  }
  // Nothing needs its destructor any more, and the process is one of thousands.
  std::fflush(nullptr);
  _exit(status);
}
