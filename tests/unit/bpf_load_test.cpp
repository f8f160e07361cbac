#include <bpf/bpf.h>
#include <gmock/gmock.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "bpf/link.h"
#include "bpf/object.h"
#include "bpf/pin.h"
#include "bpf/probe.h"
#include "bpf/ring_buffer.h"
#include "support/netns_fixture.h"

namespace ls {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(PinName, TakesWhatBpffsRefuses) {
  EXPECT_EQ(bpf::pin_name("eth0"), "eth0");
  EXPECT_EQ(bpf::pin_name("eth0.100"), "eth0%2e100");
  EXPECT_EQ(bpf::pin_name("a%2e"), "a%252e") << "two names never become one";
  EXPECT_EQ(bpf::pin_name("\xc3\xa4/b"), "%c3%a4%2fb");
}

TEST(LogTail, KeepsTheLastLines) {
  EXPECT_EQ(bpf::log_tail("a\nb\nc\n", 2), "b\nc");
  EXPECT_EQ(bpf::log_tail("a\nb\nc", 3), "a\nb\nc");
  EXPECT_EQ(bpf::log_tail("a\nb\nc", 50), "a\nb\nc");
  EXPECT_EQ(bpf::log_tail("", 50), "");
  EXPECT_EQ(bpf::log_tail("\n\n", 1), "");
}

class BpfLoad : public test::NetnsFixture {};

UniqueFd make_array() {
  return UniqueFd(bpf_map_create(BPF_MAP_TYPE_ARRAY, "t", 4, 8, 1, nullptr));
}

TEST_F(BpfLoad, PinsKeepKindAndMode) {
  auto dir = bpffs() + "/x";
  ASSERT_TRUE(bpf::make_pin_dir(dir + "/y", 0750));
  auto map = make_array();
  ASSERT_TRUE(bpf::pin(map.get(), dir + "/y/m", 0640));
  struct stat st {};
  ASSERT_EQ(stat((dir + "/y/m").c_str(), &st), 0);
  EXPECT_EQ(st.st_mode & 0777, 0640u);
  EXPECT_TRUE(bpf::open_pinned(dir + "/y/m", bpf::PinKind::kMap));
  auto wrong = bpf::open_pinned(dir + "/y/m", bpf::PinKind::kLink);
  ASSERT_FALSE(wrong);
  EXPECT_EQ(wrong.error().code.value(), EMEDIUMTYPE);
  EXPECT_EQ(bpf::pin(map.get(), dir + "/y/m", 0640).error().code.value(), EEXIST);
  EXPECT_TRUE(bpf::remove_pin_dir(dir));
  EXPECT_FALSE(bpf::exists(dir));
  EXPECT_TRUE(bpf::remove_pin_dir(dir)) << "absent is success";
}

TEST_F(BpfLoad, NoBpffsSaysHowToMountOne) {
  auto r = bpf::require_bpffs("/tmp/nowhere/at/all");
  ASSERT_FALSE(r);
  EXPECT_THAT(r.error().text(), HasSubstr("mount -t bpf"));
  EXPECT_TRUE(bpf::require_bpffs(bpffs() + "/not/yet/there"));
}

TEST_F(BpfLoad, NothingIsRemovedOutsideABpffs) {
  std::string dir = "/tmp/ls-not-bpffs-" + std::to_string(getpid());
  ASSERT_EQ(mkdir(dir.c_str(), 0700), 0);
  EXPECT_FALSE(bpf::remove_pin_dir(dir));
  EXPECT_EQ(rmdir(dir.c_str()), 0) << "it must still be there";
}

TEST_F(BpfLoad, ProbeFindsWhatThisKernelHas) {
  auto f = bpf::probe_kernel();
  EXPECT_THAT(f.kernel, HasSubstr("."));
  for (auto* feature : f.all()) {
    EXPECT_EQ(feature->available, feature->reason.empty()) << feature->name << ": " << feature->reason;
  }
  EXPECT_TRUE(f.bpf.available);
  EXPECT_TRUE(f.btf.available) << f.btf.reason;
  EXPECT_TRUE(f.cgroup_links.available) << f.cgroup_links.reason;
  EXPECT_TRUE(f.sk_storage.available) << f.sk_storage.reason;
  EXPECT_TRUE(f.ring_buffer.available) << f.ring_buffer.reason;
}

TEST_F(BpfLoad, ProbeWithoutRightsSaysWhichAreMissing) {
  int status = in_child([] {
    if (setresuid(65534, 65534, 65534) != 0) return 1;
    auto f = bpf::probe_kernel();
    return !f.bpf.available && f.bpf.reason.find("CAP_BPF") != std::string::npos ? 0 : 2;
  });
  EXPECT_EQ(status, 0);
}

std::vector<std::byte> read_bytes(const char* path) {
  std::ifstream in(path, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  auto* p = reinterpret_cast<const std::byte*>(text.data());
  return {p, p + text.size()};
}

TEST_F(BpfLoad, RefusedProgramIsNamedWithTheEndOfTheLog) {
  auto elf = read_bytes(LS_REFUSED_OBJECT);
  ASSERT_FALSE(elf.empty());
  auto object = bpf::Object::open("refused", elf);
  ASSERT_TRUE(object) << object.error().text();
  std::string log_file = "/tmp/ls-verifier-" + std::to_string(getpid());
  auto r = object->load(log_file);
  ASSERT_FALSE(r);
  auto text = r.error().text();
  EXPECT_THAT(text, HasSubstr("refuses ls_refused"));
  EXPECT_THAT(text, Not(HasSubstr("refuses ls_good")));
  EXPECT_THAT(text, HasSubstr("invalid access to packet"));
  EXPECT_LE(std::count(text.begin(), text.end(), '\n'), 54);
  std::ifstream in(log_file);
  std::stringstream whole;
  whole << in.rdbuf();
  EXPECT_THAT(whole.str(), HasSubstr("program ls_refused"));
  EXPECT_GT(std::count(std::istreambuf_iterator<char>(whole), {}, '\n'), 60) << "the whole log";
  unlink(log_file.c_str());
}

/// A program that sends one record of 8 bytes to the ring and allows.
UniqueFd make_sender(int ring_fd) {
  bpf_insn insns[] = {
      {.code = BPF_ST | BPF_MEM | BPF_DW, .dst_reg = 10, .src_reg = 0, .off = -8, .imm = 0x2a},
      {.code = BPF_LD | BPF_IMM | BPF_DW,
       .dst_reg = 1,
       .src_reg = BPF_PSEUDO_MAP_FD,
       .off = 0,
       .imm = ring_fd},
      {.code = 0, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
      {.code = BPF_ALU64 | BPF_MOV | BPF_X, .dst_reg = 2, .src_reg = 10, .off = 0, .imm = 0},
      {.code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = 2, .src_reg = 0, .off = 0, .imm = -8},
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 3, .src_reg = 0, .off = 0, .imm = 8},
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 4, .src_reg = 0, .off = 0, .imm = 0},
      {.code = BPF_JMP | BPF_CALL, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = BPF_FUNC_ringbuf_output},
      {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
      {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}};
  return UniqueFd(bpf_prog_load(BPF_PROG_TYPE_SCHED_CLS, "sender", "GPL", insns, std::size(insns), nullptr));
}

TEST_F(BpfLoad, RingBufferHandsOutAtMostWhatIsAsked) {
  UniqueFd ring(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, 4096, nullptr));
  ASSERT_TRUE(bool(ring));
  auto sender = make_sender(ring.get());
  ASSERT_TRUE(bool(sender)) << std::strerror(errno);
  std::vector<uint64_t> got;
  auto rb = bpf::RingBuffer::open(ring.get(), [&](std::span<const std::byte> record) {
    uint64_t v = 0;
    ASSERT_EQ(record.size(), sizeof v);
    std::memcpy(&v, record.data(), sizeof v);
    got.push_back(v);
  });
  ASSERT_TRUE(rb) << rb.error().text();
  char packet[64] = {};
  LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = packet, .data_size_in = sizeof packet, .repeat = 5);
  ASSERT_EQ(bpf_prog_test_run_opts(sender.get(), &opts), 0) << std::strerror(errno);
  EXPECT_EQ(*rb->consume(2), 2u);
  EXPECT_EQ(*rb->consume(2), 2u);
  EXPECT_EQ(*rb->consume(), 1u);
  EXPECT_EQ(*rb->consume(), 0u);
  EXPECT_EQ(got, std::vector<uint64_t>(5, 42));
}

TEST_F(BpfLoad, LinkTellsWhenItsDeviceIsGone) {
  add_veth("va", "vb");
  UniqueFd ring(bpf_map_create(BPF_MAP_TYPE_RINGBUF, "ring", 0, 0, 4096, nullptr));
  auto program = make_sender(ring.get());
  auto link = bpf::Link::create_tcx(program.get(), ifindex("va"), bpf::TcSide::kEgress);
  ASSERT_TRUE(link) << link.error().text();
  auto info = link->info();
  ASSERT_TRUE(info);
  EXPECT_EQ(info->kind, bpf::LinkInfo::Kind::kTcx);
  EXPECT_EQ(info->target, uint64_t(ifindex("va")));
  EXPECT_EQ(int(info->attach_type), bpf::kTcxEgress);
  run("ip link del va");
  EXPECT_FALSE(link->info()->attached());
}

}  // namespace
}  // namespace ls
