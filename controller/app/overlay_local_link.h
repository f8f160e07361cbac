#pragma once
/// The link of a node to the allocator in its own process (a machine that is master and node at once): the same as
/// sources/overlay_link.h, without a connection and without texts.
///
/// Threads: as OverlayLink says, the control loop. The allocator belongs to the admin thread: what is said is posted there and what it
/// answers is posted back, both in order. A change of the allocations by whatever node is handed on as soon as both threads get to it,
/// several at once as one feed. `service` and the control loop's io_context outlive the admin thread; the link may end before or after it.
/// Errors: an allocator that could not begin is an error of each registration (OverlayLinkStatus::last_error); what the node has stays.
/// Cost: of a change what it changes, of the first feed all nodes; nothing is copied as text.
#include "app/overlay_service.h"
#include "sources/overlay_link.h"

namespace ls {

/// `post`: api::Server::poster(). Of the options only held, settle, reregister and the backoff matter.
std::unique_ptr<OverlayLink> make_local_overlay_link(boost::asio::io_context& io, const Clock& clock, OverlayService& service,
                                                     std::function<void(std::function<void()>)> post, OverlayLinkOptions options,
                                                     OverlayLinkEvents events);

}  // namespace ls
