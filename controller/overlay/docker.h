#pragma once
/// The Docker network of an overlay: made when it is not there, compared when it is, never changed and never deleted.
///
/// Thread: any, one call at a time; blocks for as long as Docker takes (Command::limit for each command), so never on the control loop:
/// overlay/docker_keeper.h has a thread for it. Cost: one `docker network inspect`, and one `create` if there is nothing.
///
/// The call (spec/overlay-modules.md 8.4; the order is that of its text, and the name comes last as the usage of the command asks):
///
///   docker network create --driver=bridge
///     --opt=com.docker.network.bridge.name=d-<overlay>
///     --opt=com.docker.network.bridge.enable_ip_masquerade=false
///     --opt=com.docker.network.driver.mtu=<mtu>
///     [--subnet=<IPv4 half>] [--ipv6 --subnet=<IPv6 half>] <overlay>
///
/// Each option is one argument with '=', so that no value can be taken for an option. The gateway is left to Docker, which takes the first
/// address of the subnet, as gateway_of() does. An overlay with IPv6 only: Docker wants an IPv4 subnet for every bridge and chooses one; it means something on
/// this node only, is not masqueraded, and is not compared afterwards. A network with an IPv4 pool that IPv6 was switched on for later is a conflict.
///
/// Docker looks a name up among identifiers too, if no network is called so. An answer with another name therefore means: not there.
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "overlay/command.h"
#include "util/network.h"

namespace ls::overlay {

struct DockerNetwork {
  std::string name;                 ///< of the overlay
  std::optional<IpNetwork> v4, v6;  ///< the Docker halves (half_of(share, true)); none: there is nothing to do
  uint32_t mtu = 0;                 ///< octets, of containers
  auto operator<=>(const DockerNetwork&) const = default;
};

enum class DockerState : uint8_t {
  kMade,      ///< just now
  kThere,     ///< it was there and is what is wanted
  kConflict,  ///< there is one of that name that differs: `text` says in what
  kNoDocker,  ///< there is no docker command on this machine
  kNoAnswer,  ///< the Docker daemon does not run, may not be asked, or did not answer in time
  kFailed,    ///< anything else; `text` is what Docker said
  kNothing,   ///< neither subnet: nothing was asked for
};
/// "made", "there already", "conflict", "no Docker here", "Docker does not answer", "failed", "nothing to do".
std::string_view name_of(DockerState);
/// Whether it is worth another attempt soon: no Docker, no answer, failed.
bool wants_retry(DockerState);

struct DockerResult {
  std::string name;
  DockerState state = DockerState::kFailed;
  std::string text;       ///< of conflict, no answer and failed: one line, printable
  uint32_t failures = 0;  ///< commands that failed; that a network is not there yet is none
  /// "dcos: made", "dcos: conflict: ..."
  std::string line() const;
};

struct DockerOptions {
  std::string binary = "docker";
  Millis limit{15'000};  ///< of each command
};

/// One network. A stopped runner gives kNoAnswer.
DockerResult ensure_docker_network(CommandRunner&, const DockerOptions&, const DockerNetwork&);

/// The arguments of the two commands. For names that good_docker_name() takes.
std::vector<std::string> docker_inspect_command(const DockerOptions&, const DockerNetwork&);
std::vector<std::string> docker_create_command(const DockerOptions&, const DockerNetwork&);
/// 1 to 13 letters, digits, '-', '_' and '.', a letter or digit first.
bool good_docker_name(std::string_view);

/// What `docker network inspect` said, compared. Text of the differences ("mtu: wanted 1420, found 1500"), empty when there is none.
/// Errors: it is no JSON of that form.
struct DockerCompared {
  bool other_name = false;  ///< it is about another network
  std::string differences;
};
Result<DockerCompared> compare_docker_network(const DockerNetwork& wanted, std::string_view json);

}  // namespace ls::overlay
