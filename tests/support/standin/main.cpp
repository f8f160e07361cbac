// ls-mesos-standin: the Mesos stand-in as a program, steered by a script, by standard input and by a unix socket.
#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/local/stream_protocol.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/redirect_error.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/streambuf.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <fstream>
#include <iostream>
#include <iterator>

#include "standin/engine.h"

namespace {

namespace asio = boost::asio;
using asio::local::stream_protocol;
using Code = boost::system::error_code;

constexpr size_t kMaxLine = 1 << 20;

/// "ok", "ok TEXT" or "error: TEXT".
std::string say(const ls::Result<std::string>& r) {
  if (!r) return "error: " + r.error().text() + "\n";
  return r->empty() ? "ok\n" : "ok " + *r + "\n";
}

/// Commands from `in`, an answer line each to `out`. True when it said quit.
template <class In, class Out>
asio::awaitable<bool> serve(In& in, Out& out, ls::standin::Engine& engine) {
  std::string buffer;
  while (true) {
    Code ec;
    size_t n = co_await asio::async_read_until(in, asio::dynamic_buffer(buffer, kMaxLine), '\n',
                                               asio::redirect_error(asio::use_awaitable, ec));
    if (ec) co_return false;
    std::string line = buffer.substr(0, n - 1);
    buffer.erase(0, n);
    if (line == "quit") {
      const std::string bye = "ok\n";
      co_await asio::async_write(out, asio::buffer(bye), asio::redirect_error(asio::use_awaitable, ec));
      co_return true;
    }
    auto r = co_await engine.run_line(line);
    const std::string answer = say(r);
    co_await asio::async_write(out, asio::buffer(answer), asio::redirect_error(asio::use_awaitable, ec));
    if (ec) co_return false;
  }
}

asio::awaitable<void> serve_stdin(asio::io_context& io, ls::standin::Engine& engine) {
  asio::posix::stream_descriptor in(io, ::dup(STDIN_FILENO)), out(io, ::dup(STDOUT_FILENO));
  bool quit = co_await serve(in, out, engine);
  if (quit) io.stop();
}

asio::awaitable<void> serve_client(asio::io_context& io, std::shared_ptr<stream_protocol::socket> client,
                                   ls::standin::Engine& engine) {
  bool quit = co_await serve(*client, *client, engine);
  if (quit) io.stop();
}

asio::awaitable<void> serve_control(asio::io_context& io, stream_protocol::acceptor acceptor,
                                    ls::standin::Engine& engine) {
  while (true) {
    Code ec;
    auto client = std::make_shared<stream_protocol::socket>(io);
    co_await acceptor.async_accept(*client, asio::redirect_error(asio::use_awaitable, ec));
    if (ec) co_return;
    asio::co_spawn(io, serve_client(io, client, engine), asio::detached);
  }
}

asio::awaitable<void> run_script(asio::io_context& io, std::string file, bool go_on, ls::standin::Engine& engine,
                                 int& exit_code) {
  std::ifstream in(file);
  std::string line;
  if (!in) {
    std::cerr << "ls-mesos-standin: cannot open " << file << "\n";
    exit_code = 2;
    io.stop();
    co_return;
  }
  for (int number = 1; std::getline(in, line); ++number) {
    if (line == "quit") {
      io.stop();
      co_return;
    }
    auto r = co_await engine.run_line(line);
    if (!r) {
      std::cerr << "ls-mesos-standin: " << file << " line " << number << ": " << r.error().text() << "\n";
      exit_code = 1;
      io.stop();
      co_return;
    }
    if (!r->empty()) std::cout << *r << std::endl;
  }
  if (!go_on) io.stop();
}

/// The other side of --control: sends each command, prints the answers; 1 when one was an error.
int send(const std::string& path, const std::vector<std::string>& commands) {
  asio::io_context io;
  stream_protocol::socket socket(io);
  Code ec;
  socket.connect(stream_protocol::endpoint(path), ec);
  if (ec) {
    std::cerr << "ls-mesos-standin: connect to " << path << ": " << ec.message() << "\n";
    return 2;
  }
  int code = 0;
  std::string buffer;
  for (const auto& c : commands) {
    asio::write(socket, asio::buffer(c + "\n"), ec);
    size_t n = ec ? 0 : asio::read_until(socket, asio::dynamic_buffer(buffer), '\n', ec);
    if (ec) {
      std::cerr << "ls-mesos-standin: " << ec.message() << "\n";
      return 2;
    }
    std::string answer = buffer.substr(0, n);
    buffer.erase(0, n);
    if (answer.starts_with("error")) code = 1;
    std::cout << answer << std::flush;
  }
  return code;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Mesos stand-in: masters with an event stream, for tests and demos of loadstar");
  ls::StandinOptions options;
  std::string script, control, send_to;
  std::vector<std::string> commands;
  double heartbeat_s = 15;
  bool use_stdin = false, once = false;
  app.add_option("--listen", options.listen, "ADDR:PORT of a master, once for each; port 0: any");
  app.add_option("--script", script, "file of commands to run at the start");
  app.add_flag("--exit-after-script", once, "end when the script ends");
  app.add_flag("--stdin", use_stdin, "take commands from standard input");
  app.add_option("--control", control, "take commands on this unix socket");
  app.add_option("--heartbeat", heartbeat_s, "heartbeat interval in seconds")->check(CLI::PositiveNumber);
  app.add_option("--chunk-size", options.chunk_size, "bytes of an HTTP chunk, 0: one record a chunk");
  app.add_option("--principal", options.principal, "basic authentication: this principal");
  app.add_option("--secret", options.secret, "and this secret");
  app.add_option("--token", options.token, "Authorization: token=THIS");
  app.add_option("--tls-cert", options.cert_file, "TLS certificate chain, PEM");
  app.add_option("--tls-key", options.key_file, "TLS key, PEM");
  app.add_option("--tls-client-ca", options.client_ca_file, "require client certificates of this authority");
  app.add_option("--send", send_to, "send the commands that follow to the stand-in at this socket, print its answers");
  app.add_option("commands", commands, "for --send, one command an argument");
  app.footer(std::string(ls::MesosStandin::help()));
  CLI11_PARSE(app, argc, argv);
  if (!send_to.empty()) return send(send_to, commands);

  ::signal(SIGPIPE, SIG_IGN);
  options.heartbeat = ls::Millis(static_cast<int64_t>(heartbeat_s * 1000));
  asio::io_context io(1);
  int exit_code = 0;
  ls::standin::Engine engine(io, options);
  if (auto r = engine.server().listen(); !r) {
    std::cerr << "ls-mesos-standin: " << r.error().text() << "\n";
    return 2;
  }
  if (!control.empty()) {
    ::unlink(control.c_str());
    Code ec;
    stream_protocol::acceptor acceptor(io);
    acceptor.open(stream_protocol(), ec);
    if (!ec) acceptor.bind(stream_protocol::endpoint(control), ec);
    if (!ec) acceptor.listen(16, ec);
    if (ec) {
      std::cerr << "ls-mesos-standin: listen on " << control << ": " << ec.message() << "\n";
      return 2;
    }
    asio::co_spawn(io, serve_control(io, std::move(acceptor), engine), asio::detached);
  }
  // Whoever started it waits for these lines: the addresses are bound.
  for (const auto& m : engine.server().masters()) std::cout << "listening " << m.address << std::endl;
  if (!script.empty()) {
    asio::co_spawn(io, run_script(io, script, !once, engine, exit_code), asio::detached);
  }
  if (use_stdin) asio::co_spawn(io, serve_stdin(io, engine), asio::detached);
  asio::signal_set signals(io, SIGINT, SIGTERM);
  signals.async_wait([&](const Code&, int) { io.stop(); });
  io.run();
  if (!control.empty()) ::unlink(control.c_str());
  return exit_code;
}
