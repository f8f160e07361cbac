/// The allocator's file on a damaged disk: octets of a good overlay.db and of its log are changed, cut and repeated. It opens or says what is wrong and
/// leaves the file as it is; what opens has one owner for everything, takes new nodes, and is the same after a restart.
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <string>

#include "overlay/allocator.h"
#include "overlay_owners.h"
#include "store/store.h"
#include "util/log.h"

using namespace ls;
using namespace ls::overlay;
namespace fs = std::filesystem;

namespace {

using ls::fuzz::base_plan;
using ls::fuzz::Input;
using ls::fuzz::one_owner;
using ls::fuzz::require;

/// In memory where that is possible: every input writes files that are made sure of.
class Folder {
 public:
  Folder() {
    std::string name = access("/dev/shm", W_OK) == 0 ? "/dev/shm/ls_fuzz_XXXXXX" : "/tmp/ls_fuzz_XXXXXX";
    require(mkdtemp(name.data()) != nullptr, "a folder");
    path_ = name;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

const Folder& folder() {
  static Folder f;
  return f;
}
fs::path file() { return folder() / "overlay.db"; }
fs::path wal() { return folder() / "overlay.db-wal"; }

std::string content(const fs::path& p) {
  std::ifstream in(p, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}
void write(const fs::path& p, const std::string& text) { std::ofstream(p, std::ios::binary | std::ios::trunc).write(text.data(), std::streamsize(text.size())); }
void clear() {
  for (auto* name : {"overlay.db", "overlay.db-wal", "overlay.db-shm"}) fs::remove(folder() / name);
}

void add_nodes(Allocator& a, uint32_t first, uint32_t count) {
  for (uint32_t i = first; i < first + count; i++) {
    RegisterRequest q;
    q.node = IpAddress::from_v4(0x0a000000 + i);
    q.id = "node-" + std::to_string(i);
    require(a.register_node(q).has_value(), "a node of the good file");
  }
}

/// The octets of a file that was closed, and of one whose process was killed with the last changes in the log.
struct Good {
  std::string closed, open, log;
};
const Good& good() {
  static const Good g = [] {
    Good out;
    FakeClock clock;
    clear();
    {
      auto store = std::move(*open_file_store(file()));
      add_nodes(**Allocator::open(*store, clock, base_plan()), 1, 4);
    }
    out.closed = content(file());
    auto store = std::move(*open_file_store(file()));
    add_nodes(**Allocator::open(*store, clock, base_plan()), 5, 2);
    out.open = content(file());
    out.log = content(wal());
    return out;
  }();
  return g;
}

/// Where damage tells something: the header, the beginnings of pages and of their tables of cells, anywhere.
size_t place(Input& in, size_t size) {
  size_t n = in.octet() * 256u;
  n += in.octet();
  if (n & 0x8000) n = (n & 0x7fff) * 16 + n % 7;
  return size ? n % size : 0;
}

void damage(std::string& text, Input& in, uint8_t what) {
  if (text.empty()) return;
  auto at = place(in, text.size());
  switch (what % 5) {
    case 0: text[at] = char(in.octet()); break;
    case 1: text[at] = char(text[at] ^ (1 << in.octet() % 8)); break;
    case 2: {
      auto octets = in.line();
      octets.resize(std::min(octets.size(), text.size() - at));
      text.replace(at, octets.size(), octets);
      break;
    }
    case 3: text.resize(at); break;
    case 4: {
      // A write that went to another place.
      auto from = place(in, text.size());
      auto many = std::min({size_t(in.octet()) * 16, text.size() - from, text.size() - at});
      text.replace(at, many, text.substr(from, many));
      break;
    }
  }
}

std::map<IpAddress, Allocation> all(const Allocator& a) {
  std::map<IpAddress, Allocation> out;
  for (auto* n : a.nodes()) out[n->allocation.node] = n->allocation;
  return out;
}

/// `whole`: how many nodes must be there; 0: the file is damaged, and what there is cannot be known.
void use(bool with_log, const std::string& before, size_t whole) {
  FakeClock clock;
  std::map<IpAddress, Allocation> had;
  {
    auto store = open_file_store(file());
    require(store.has_value() || whole == 0, "a good file opens");
    if (!store) {
      require(store.error().text().find("overlay.db") != std::string::npos, "the error names the file");
      require(with_log || content(file()) == before, "a file that cannot be used is left as it is");
      return;
    }
    auto a = Allocator::open(**store, clock, base_plan());
    require(whole == 0 || (a.has_value() && (*a)->size() == whole), "a good file has every node");
    if (!a) {
      require(!a.error().text().empty(), "an error says what it is");
      return;
    }
    one_owner(**a);
    RegisterRequest q;
    q.node = IpAddress::from_v4(0x0a0000fe);
    auto ignored = (*a)->register_node(q);
    one_owner(**a);
    had = all(**a);
  }
  auto store = open_file_store(file());
  require(store.has_value(), "what was used opens again");
  auto a = Allocator::open(**store, clock, std::nullopt);
  require(a.has_value() && all(**a) == had, "a restart loses nothing");
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int*, char***) {
  log::set_level(log::Level::kError);
  good();
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Input in(data, size);
  const bool with_log = in.octet() & 1;
  auto text = with_log ? good().open : good().closed, log = with_log ? good().log : std::string();
  size_t whole = !in.empty() ? 0 : with_log ? 6 : 4;
  for (int i = 0; i < 12 && !in.empty(); i++) {
    auto what = in.octet();
    damage(with_log && what & 0x80 ? log : text, in, what);
  }
  clear();
  write(file(), text);
  if (with_log) write(wal(), log);
  use(with_log, text, whole);
  return 0;
}
