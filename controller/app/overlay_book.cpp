#include "app/overlay_book.h"

namespace ls {

using overlay::ShareState;

namespace {

std::string text_of(const std::optional<IpNetwork>& n) { return n ? n->text() : std::string(); }

std::string_view to_text(ShareState s) {
  switch (s) {
    case ShareState::kExhausted: return "exhausted";
    case ShareState::kConflict: return "conflict";
    case ShareState::kOk: break;
  }
  return "ok";
}

}  // namespace

api::OverlayShareView share_view(const overlay::Share& s) {
  return {s.overlay, text_of(s.v4), text_of(s.v6), std::string(to_text(s.state)), s.detail, s.mesos_bridge, s.docker_bridge};
}

api::OverlayPeerView peer_view(const overlay::Allocation& a, const IpAddress& self) {
  api::OverlayPeerView out;
  out.node = a.node.text();
  out.id = a.id;
  out.vtep4 = a.vtep.v4.text();
  if (a.vtep.v6) out.vtep6 = a.vtep.v6->text();
  out.mac = overlay::to_text(a.vtep.mac);
  out.self = a.node == self;
  for (auto& s : a.shares) out.shares.push_back(share_view(s));
  return out;
}

}  // namespace ls
