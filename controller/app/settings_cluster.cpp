// The lines of [hub], [hub_server], [store] and [state]: what makes one cluster of many machines. What the values say together is checked by
// config_cluster.cpp.
#include "app/settings_line.h"
#include "util/host_port.h"
#include "zk/url.h"

namespace ls::setting_codec {

template <>
struct EnumNames<StoreKind> {
  static constexpr std::pair<std::string_view, StoreKind> kNames[] = {{"file", StoreKind::kFile}, {"zookeeper", StoreKind::kZookeeper}};
};

std::optional<std::string> zk_url(const std::string& text) {
  if (text.empty()) return std::nullopt;
  auto url = zk::parse_url(text);
  if (!url) return url.error().text();
  // What a setting says is shown to whoever asks for the configuration.
  if (!url->user.empty()) return "user and password belong into a file of their own (the setting that ends in login_file)";
  return std::nullopt;
}

namespace {

std::optional<std::string> hub_address(const std::string& text) {
  auto address = parse_host_port(text, 62081, "hub");
  if (!address) return address.error().text();
  return std::nullopt;
}

std::optional<std::string> api_address(const std::string& text) {
  if (text.empty()) return std::nullopt;
  auto address = parse_host_port(text, 62080, "address");
  if (!address) return address.error().text();
  return std::nullopt;
}

using C = Config;

}  // namespace

std::vector<Setting> cluster_lines() {
  return {
      // clang-format off
      line<&C::hub, &C::Hub::masters>("hub.masters",
          "Masters (port 62081 unless given) whose hub is followed. Each node prefers one by a hash of its own, and goes on to another "
          "when that does not answer.", {.type = "list of addresses with port", .rule = hub_address}),
      line<&C::hub, &C::Hub::tls>("hub.tls", "Talk HTTPS to the hubs."),
      line<&C::hub, &C::Hub::ca_file>("hub.ca_file", "Certificates (PEM) that vouch for the hubs. Empty: those of the system.",
          {.must_exist = true}),
      line<&C::hub, &C::Hub::cert_file>("hub.cert_file",
          "Certificate (PEM) that this daemon shows to the hubs. Needs hub.key_file.", {.must_exist = true}),
      line<&C::hub, &C::Hub::key_file>("hub.key_file", "Private key (PEM) of hub.cert_file.", {.must_exist = true}),
      line<&C::hub, &C::Hub::token_file>("hub.token_file",
          "File with the token that is sent as \"Authorization: Bearer ...\". A final newline is not part of it.", {.must_exist = true}),
      line<&C::hub, &C::Hub::connect_timeout>("hub.connect_timeout", "How long a hub may take to accept a connection.",
          {.limits = {100, 5 * kMinute}}),
      line<&C::hub, &C::Hub::backoff_min>("hub.backoff_min",
          "Pause before a new attempt after a lost stream, of which a random part is taken off; it doubles while no hub answers.",
          {.limits = {10, kHour}}),
      line<&C::hub, &C::Hub::backoff_max>("hub.backoff_max", "Longest pause between attempts.", {.limits = {10, kHour}}),
      line<&C::hub, &C::Hub::rebalance>("hub.rebalance",
          "A node whose preferred hub is back returns to it after a random part of this time.", {.limits = {kSecond, kDay}}),
      line<&C::hub, &C::Hub::stale>("hub.stale",
          "A hub that has lost Mesos for longer than this is left for one that has not.", {.limits = {kSecond, kDay}}),

      line<&C::hub_server, &C::HubServer::listen>("hub_server.listen",
          "Addresses and ports where nodes with source.kind = \"hub\" follow this one. Port 62081 is the usual one. Empty: no hub."),
      line<&C::hub_server, &C::HubServer::token_file>("hub_server.token_file",
          "File with the token that followers must send. A final newline is not part of it.", {.must_exist = true}),
      line<&C::hub_server, &C::HubServer::cert_file>("hub_server.cert_file", "Certificate (PEM) of the hub: it then talks HTTPS only.",
          {.must_exist = true}),
      line<&C::hub_server, &C::HubServer::key_file>("hub_server.key_file", "Private key (PEM) of hub_server.cert_file.",
          {.must_exist = true}),
      line<&C::hub_server, &C::HubServer::client_ca_file>("hub_server.client_ca_file",
          "Certificates (PEM) that must vouch for the certificate of each follower.", {.must_exist = true}),
      line<&C::hub_server, &C::HubServer::anyone>("hub_server.anyone",
          "Serve whoever can connect, without token and certificate. What is served names all tasks with their addresses."),
      line<&C::hub_server, &C::HubServer::history>("hub_server.history",
          "Changes that are kept for followers that come back. Who was away for longer gets the whole state.",
          {.limits = {kMiB, 16 * 1024 * kMiB}}),
      line<&C::hub_server, &C::HubServer::heartbeat>("hub_server.heartbeat",
          "A stream without changes carries a sign of life this often; a follower gives it up after three.", {.limits = {100, kMinute}}),
      line<&C::hub_server, &C::HubServer::batch>("hub_server.batch",
          "Changes within this time of the one before share a record. The first after quiet goes out at once.", {.limits = {0, 10 * kSecond}}),
      line<&C::hub_server, &C::HubServer::max_followers>("hub_server.max_followers", "Streams at a time.",
          {.limits = {1, 1'000'000}, .unit = "followers"}),
      line<&C::hub_server, &C::HubServer::probe_every>("hub_server.probe_every",
          "How often a hub asks, by a TCP connection, agents that do not follow it whether they live. One that does not answer "
          "three times in a row gets no new connections on any node while another backend is there. 0: only Mesos decides.",
          {.limits = {0, kHour}}),

      line<&C::store, &C::Store::kind>("store.kind",
          "Where registrations and allocations of the overlay are kept: in a file of this machine, for a single master, or in ZooKeeper, "
          "for several of which one writes. loadstard store migrate moves them."),
      line<&C::store, &C::Store::path>("store.path",
          "File of registrations and everything else that outlives a restart. Its folder also holds copies of what others told.",
          {.rule = not_empty}),
      line<&C::store, &C::Store::zookeeper>("store.zookeeper",
          "ZooKeeper servers and path for store.kind = \"zookeeper\", as in zk://10.0.0.1:2181,10.0.0.2:2181/loadstar. The path is loadstar's "
          "own, not that of Mesos. User and password stand in store.zookeeper_login_file.", {.rule = zk_url}),
      line<&C::store, &C::Store::zookeeper_login_file>("store.zookeeper_login_file",
          "File with user:password for ZooKeeper (digest); nodes then belong to that user alone. A final newline is not part of it.",
          {.must_exist = true}),
      line<&C::store, &C::Store::session>("store.session",
          "Session time-out asked of ZooKeeper: a master that dies is followed by another one after this time.",
          {.limits = {2 * kSecond, 10 * kMinute}}),
      line<&C::store, &C::Store::advertise>("store.advertise",
          "HOST:PORT under which the other masters reach the HTTP interface (api.listen) of this one. Empty: node.address and the port of "
          "the first address of api.listen.", {.rule = api_address}),

      line<&C::state, &C::State::save_every>("state.save_every",
          "How often at most the state of the cluster is written to the folder of store.path while it changes. A daemon that starts without "
          "a source serves what is there. 0: it is not kept.", {.limits = {0, kHour}}),
      // clang-format on
  };
}

}  // namespace ls::setting_codec
