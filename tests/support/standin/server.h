#pragma once
/// The HTTP side of the stand-in: several masters on addresses of their own, of which at most one leads; event streams.
/// Answers in the order of checks of spec/mesos-state.md section 2.3. One thread: the io_context's.
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl/context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "mesos_standin.h"

namespace ls::standin {

struct Master {
  std::string address;  ///< as bound
  std::string id;       ///< new at each election: a master that lost the leadership is another process
  double start_s = 0, elected_s = 0;
  std::optional<std::pair<unsigned, std::string>> canned;  ///< to every API call: status and text; status 0 hangs
  std::string redirect;                                    ///< host:port that every API call is sent to
  std::unique_ptr<boost::asio::ip::tcp::acceptor> acceptor;  ///< null while down
};

/// What the server asks the cluster.
class Backend {
 public:
  virtual ~Backend() = default;
  virtual std::string snapshot() = 0;   ///< the SUBSCRIBED event
  virtual std::string get_state() = 0;  ///< the answer to GET_STATE
};

class Server {
 public:
  Server(boost::asio::io_context& io, StandinOptions options, Backend& backend);
  ~Server();

  Result<> listen();
  Result<> up(size_t master);
  void down(size_t master);
  std::vector<Master>& masters() { return masters_; }
  const std::vector<Master>& masters() const { return masters_; }
  int leader() const { return leader_; }  ///< 1.., 0: none
  void lead(int master);                  ///< a new election; cuts all streams

  size_t subscribers() const;
  uint64_t subscribed() const { return subscribed_; }  ///< streams that were ever opened
  void broadcast(std::string event);
  /// Ends all streams at once; `mid`: after half of a record.
  void drop(bool mid);
  void set_heartbeat(Millis interval);
  Millis heartbeat() const { return options_.heartbeat; }
  void deny(std::string call) { denied_ = std::move(call); }  ///< 403 for this call; empty: none
  void set_silent(bool silent) { silent_ = silent; }
  const StandinOptions& options() const { return options_; }

 private:
  struct Subscriber;
  struct Reply;
  boost::asio::awaitable<void> accept_loop(size_t master);
  template <class Stream>
  boost::asio::awaitable<void> session(std::shared_ptr<Stream> stream, size_t master);
  template <class Stream>
  boost::asio::awaitable<void> events(std::shared_ptr<Stream> stream);
  Reply answer(size_t master, const std::string& method, const std::string& target, const std::string& type,
               const std::string& accept, const std::string& authorization, const std::string& body);
  bool authorized(const std::string& header) const;

  boost::asio::io_context& io_;
  StandinOptions options_;
  Backend& backend_;
  std::unique_ptr<boost::asio::ssl::context> tls_;
  std::vector<Master> masters_;
  std::vector<std::weak_ptr<Subscriber>> streams_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  int leader_ = 0;
  int elections_ = 0;
  uint64_t subscribed_ = 0;
  bool silent_ = false;
  std::string denied_;
};

}  // namespace ls::standin
