#include "mesos_standin.h"

#include <fmt/format.h>

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>

#include "standin/engine.h"

namespace ls {

namespace asio = boost::asio;

struct MesosStandin::Impl {
  Impl(asio::io_context& i, StandinOptions options) : io(i), engine(i, std::move(options)) {}
  asio::io_context& io;
  standin::Engine engine;
};

MesosStandin::MesosStandin(std::shared_ptr<Impl> impl) : impl_(std::move(impl)) {}
MesosStandin::~MesosStandin() = default;

Result<std::unique_ptr<MesosStandin>> MesosStandin::listen(asio::io_context& io, StandinOptions options) {
  auto impl = std::make_shared<Impl>(io, std::move(options));
  LS_TRY(impl->engine.server().listen());
  return std::unique_ptr<MesosStandin>(new MesosStandin(std::move(impl)));
}

std::string MesosStandin::address(size_t master) const { return impl_->engine.server().masters().at(master - 1).address; }
size_t MesosStandin::subscribers() const { return impl_->engine.server().subscribers(); }

Result<std::string> MesosStandin::command(std::string_view line) {
  LS_ASSIGN(auto words, standin::split(line));
  return impl_->engine.command(words);
}

void MesosStandin::run(std::string script, std::function<void(Result<std::string>)> done) {
  auto body = [](std::shared_ptr<Impl> impl, std::string text,
                 std::function<void(Result<std::string>)> tell) -> asio::awaitable<void> {
    Result<std::string> last;
    int number = 0;
    for (size_t at = 0; at < text.size();) {
      size_t end = std::min(text.find('\n', at), text.size());
      std::string line = text.substr(at, end - at);
      at = end + 1;
      ++number;
      last = co_await impl->engine.run_line(line);
      if (!last) {
        last.error() = std::move(last.error()).within(fmt::format("line {}", number));
        break;
      }
    }
    tell(std::move(last));
  };
  asio::co_spawn(impl_->io, body(impl_, std::move(script), std::move(done)), asio::detached);
}

std::string_view MesosStandin::help() {
  return R"(Commands, one a line; # begins a comment, "double quotes" keep blanks.
 Cluster
  agent add ID IP [hostname=H] [port=5051] [ip6=IP] [region=R] [zone=Z] [attribute=KEY:VALUE]
  agent remove ID            TASK_LOST for its tasks, then AGENT_REMOVED
  agent unreachable ID       TASK_UNREACHABLE for its tasks, nothing about the agent
  agent gone ID              TASK_GONE_BY_OPERATOR, nothing about the agent
  agent back ID              TASK_ADDED for its tasks, then AGENT_ADDED
  framework add ID NAME | update ID NAME | connect ID | disconnect ID | remove ID
  task add ID FRAMEWORK AGENT [name=N] [label=KEY=VALUE] [ip=IP]... [network=NAME] [container=mesos|docker]
       [docker_network=HOST|BRIDGE|USER] [health[=true|false]] [state=TASK_RUNNING] [nodiscovery]
       and for each port: port=N [proto=tcp] [vip=/name:80] [scope=host|container] [port_name=N]
       [host_port=N] [container_port=N] [port_label=KEY=VALUE]
       It goes through TASK_STAGING, TASK_STARTING and TASK_RUNNING as far as state= says. Without ip= it
       has the agent's addresses; container_port= makes a port mapping from host_port= (else from the port).
  task state ID STATE [noack] [noaddress] [reason=R]   a terminal task leaves the list unless noack
  task health ID true|false
  task ip ID IP...           a new address without an event, as Mesos does it
  task ack ID                the terminal task leaves the list
       ID may be FRAMEWORK/ID where the id alone is not unique.
  bulk TASKS AGENTS VIPS     a large state: task n on agent n mod AGENTS behind /svc<n mod VIPS>:80
 Masters and streams
  leader N | leader none     election without loss of state; streams are cut; none: 503 everywhere
  failover N [gap=0s] [every=100ms] [except=A1,A2] [frameworks=late]
                             a new leader that knows recovered agents only; they come back one by one
  down N | up N              refuse connections, accept them again
  answer N STATUS [TEXT] | hang | redirect HOST:PORT | normal     what master N says to every API call
  deny CALL | deny none      answer 403 to this call, for example GET_MASTER
  drop | drop mid            cut all streams, mid: in the middle of a record
  silence | speak            stop heartbeats, go on
  heartbeat DURATION         announced in the next SUBSCRIBED
  event JSON                 send this text as a record
 Script
  sleep DURATION             500ms, 2s, 1m
  wait subscribers N [TIMEOUT] | wait settled [TIMEOUT]    settled: no re-registration under way
  status                     one line of JSON
  echo TEXT
  quit                       program only
)";
}

}  // namespace ls
