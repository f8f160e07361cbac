#pragma once
/// Inside of OverlayNode: its state and its steps. Thread: control loop, but for what is said otherwise.
#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <optional>

#include "app/overlay_book.h"
#include "app/overlay_files.h"
#include "app/overlay_memory.h"
#include "app/overlay_node.h"
#include "app/overlay_probe.h"
#include "datapath/overlay_counters.h"
#include "datapath/overlay_device.h"
#include "datapath/overlay_tables.h"
#include "netlink/watch.h"
#include "overlay/docker_keeper.h"
#include "overlay/masquerade.h"
#include "util/published.h"
#include "util/worker.h"

namespace ls {

struct OverlayNode::Impl : std::enable_shared_from_this<Impl> {
  Impl(boost::asio::io_context& i, const Config& c, const Clock& k) : io(i), config(c), clock(k), settle_timer(i), again_timer(i) {}

  Result<> start(const datapath::Programs& programs, MakeLink make_link);
  Result<std::optional<OverlayHeld>> recall();
  void stop();
  void wait_network();
  bool concerns(const netlink::Event& e) const;
  void settle();

  void say();
  void on_allocated(overlay::RegistrationAnswer&& answer);
  void take_plan(overlay::Plan&& now);
  void take_self(overlay::Allocation&& now);
  void on_feed(overlay::AllocationFeed&& feed);
  void apply_delta(overlay::AllocationFeed& feed);

  bool have_plan() const { return plan.has_value(); }
  void bring_about();
  Result<> find_underlay();
  Result<> bring_device();
  Result<> bring_tables();
  std::vector<std::string> bridges() const;
  uint32_t container_mtu() const;
  Result<> bring_masquerade();
  void bring_probe();
  std::optional<OverlayProbePeer> probe_peer(const overlay::Allocation& a) const;
  void bring_docker();
  void on_docker(const overlay::DockerReport& now);
  void bring_files();
  void write_files();
  void on_written(const OverlayFilesWritten& written);
  void report();
  std::string share_problem(const std::string& overlay) const;
  void again();
  Result<> check();

  void publish();
  std::string status_word() const;
  api::OverlayLocalView local_view(const overlay::Share& s) const;

  boost::asio::io_context& io;
  const Config& config;
  const Clock& clock;
  boost::asio::steady_timer settle_timer, again_timer;
  std::optional<netlink::Watch> watch;
  std::optional<boost::asio::posix::stream_descriptor> watch_fd;
  std::unique_ptr<OverlayLink> link;
  Attach attach;
  std::optional<OverlayMemoryWriter> memory;
  std::string memory_told;

  std::string id;
  struct {
    IpAddress node;
    overlay::NodeState self;
  } state;
  bool allocated = false;  ///< state.self is what a master gave
  /// The last block of each overlay that was this node's. Claimed until another one is given: also while the share is in conflict.
  std::map<std::string, overlay::Holding::Block> held;
  bool fed = false;        ///< the book is what a master said
  std::optional<overlay::Plan> plan;
  OverlayBook book;

  std::optional<datapath::OverlayTables> tables;
  std::optional<OverlayCounters> counters;
  struct {
    int ifindex = 0;
    uint32_t mtu = 0;
  } device;
  int underlay_ifindex = 0;
  uint32_t underlay_mtu = 0;
  bool tables_ready = false;  ///< they hold what the book says, changes are applied one by one
  bool all_due = false;       ///< the next bring_about() writes all nodes
  std::optional<OverlayFiles> next_files;  ///< to be written when the ones that are being written are
  bool writing = false;
  bool files_written = false, settling = false, stopping = false;
  std::string programs_problem, device_problem, tables_problem, files_problem, told_problem;
  std::map<std::string, std::string> cni_errors, cni_paths;  ///< by overlay
  std::vector<std::string> left_out, notes;
  std::string masquerade_problem;
  std::unique_ptr<overlay::DockerKeeper> docker_keeper;
  overlay::DockerReport docker;
  std::optional<OverlayProbe> probe;
  uint64_t repaired = 0;
  uint32_t attempts = 0;
  Instant::duration took{};  ///< by the last bring_about()

  // For the admin thread.
  std::optional<datapath::OverlayMaps> admin_maps;
  std::optional<Map<ls_ovl_addr, ls_ovl_local>> admin_local;
  Published<overlay::Plan> shown_plan;
  Published<api::OverlayNodeView> shown;
  Published<std::string> agent_text;
  std::unique_ptr<Worker> worker = std::make_unique<Worker>();  ///< for files; ends with stop()
};

}  // namespace ls
