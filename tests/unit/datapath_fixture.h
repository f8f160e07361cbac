#pragma once
/// What the tests of loading and attaching share: small tables, a device of each role, look-ups in status.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <gmock/gmock.h>

#include "bpf/pin.h"
#include "datapath/attachments.h"
#include "datapath/programs.h"
#include "datapath/rescue.h"
#include "loadstar/abi/lb.h"
#include "support/netns_fixture.h"

namespace ls::test {

using datapath::AttachmentConfig;
using datapath::Attachments;
using datapath::AttachmentStatus;
using datapath::MapOrigin;
using datapath::Programs;
using datapath::Sizes;

class DatapathFixture : public NetnsFixture {
 protected:
  std::string pin() const { return bpffs() + "/loadstar"; }
  static Sizes small() {
    return {.services = 64,
            .backends = 128,
            .ring_slots = 4096,
            .flows = 1024,
            .flows6 = 1024,
            .socket_replies = 64,
            .dns_names = 1024,
            .dns_megabytes = 1,
            .dns_cached = 64};
  }
  /// With DNS programs that the verifier is done with at once.
  Programs::Options options(Sizes sizes = small()) const {
    static const auto xdp = read_file(LS_SMALL_DNS "/dns_xdp_small.bpf.o"), tc = read_file(LS_SMALL_DNS "/dns_tc_small.bpf.o");
    Programs::Options o;
    o.pin = pin();
    o.sizes = sizes;
    o.dns_xdp_file = std::as_bytes(std::span(xdp));
    o.dns_tc_file = std::as_bytes(std::span(tc));
    return o;
  }
  /// With those of the product.
  Programs::Options real_options() const {
    auto o = options();
    o.dns_xdp_file = o.dns_tc_file = {};
    return o;
  }
  static std::string read_file(const std::string& path) {
    std::ifstream in(path, std::ios::binary);
    std::stringstream out;
    out << in.rdbuf();
    EXPECT_FALSE(out.str().empty()) << path;
    return out.str();
  }
  static Result<> no_flows(int, int) { return {}; }

  static const AttachmentStatus* find(const std::vector<AttachmentStatus>& all, std::string_view hook,
                                      std::string_view device) {
    for (auto& s : all) {
      if (s.hook == hook && s.device == device) return &s;
    }
    return nullptr;
  }
  static std::string failures(const std::vector<AttachmentStatus>& all) {
    std::string out;
    for (auto& s : all) {
      if (s.state != AttachmentStatus::State::kAttached) {
        out += fmt::format("{} {} {}: {}\n", s.hook, s.device, datapath::to_text(s.state), s.error);
      }
    }
    return out;
  }
  static datapath::MapStory story(const datapath::LoadReport& r, std::string_view name) {
    for (auto& s : r.maps) {
      if (s.name == name) return s;
    }
    return {};
  }
  std::vector<std::string> pins(const std::string& folder) const {
    auto names = bpf::list_pins(pin() + "/" + folder);
    EXPECT_TRUE(names);
    return names.value_or(std::vector<std::string>());
  }
  static uint32_t id_of(int map_fd) { return bpf::map_layout(map_fd)->id; }
  /// Every file and folder in the bpffs but those the kernel puts into each (maps.debug, progs.debug; only it
  /// may use dots).
  std::vector<std::string> everything() const {
    std::vector<std::string> out;
    for (auto& e : std::filesystem::recursive_directory_iterator(bpffs())) {
      if (e.path().filename().string().find('.') == std::string::npos) out.push_back(e.path().string());
    }
    return out;
  }
  /// Programs as tcx sees them on a device: the length of its list.
  static uint32_t tcx_count(const std::string& device, int type) {
    uint32_t ids[64], n = 64;
    EXPECT_EQ(bpf_prog_query(ifindex(device), bpf_attach_type(type), 0, nullptr, ids, &n), 0) << device;
    return n;
  }
  /// Native XDP program of a device, 0: none.
  static uint32_t xdp_program(const std::string& device) {
    LIBBPF_OPTS(bpf_xdp_query_opts, opts);
    EXPECT_EQ(bpf_xdp_query(ifindex(device), 0, &opts), 0) << device;
    EXPECT_EQ(opts.skb_prog_id, 0u) << device << " has generic XDP";
    return opts.drv_prog_id;
  }
  static uint32_t cgroup_count(const std::string& group, bpf_attach_type type) {
    UniqueFd fd(open(group.c_str(), O_RDONLY | O_DIRECTORY));
    uint32_t ids[64], n = 64, flags = 0;
    EXPECT_EQ(bpf_prog_query(fd.get(), type, 0, &flags, ids, &n), 0);
    return n;
  }
  /// "return 1" of any type, for the programs of others.
  static UniqueFd foreign(bpf_prog_type type, bpf_attach_type attach = bpf_attach_type(0)) {
    bpf_insn insns[] = {{.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 1},
                        {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
    LIBBPF_OPTS(bpf_prog_load_opts, opts, .expected_attach_type = attach);
    return UniqueFd(bpf_prog_load(type, "somebody_else", "GPL", insns, 2, &opts));
  }
};

}  // namespace ls::test
