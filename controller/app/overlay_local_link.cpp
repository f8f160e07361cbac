#include "app/overlay_local_link.h"

#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/steady_timer.hpp>

#include "sources/overlay_link_state.h"

namespace ls {
namespace {

namespace asio = boost::asio;
using Post = std::function<void(std::function<void()>)>;
using Answer = tl::expected<overlay::RegistrationAnswer, api::OverlayFailure>;
using Feed = tl::expected<overlay::AllocationFeed, api::OverlayFailure>;

constexpr const char* kHere = "this node";

/// What the control loop is told.
class Listener {
 public:
  virtual ~Listener() = default;
  virtual void on_feed(Feed&&) = 0;
  virtual void on_answer(Answer&&) = 0;
};

/// The part at the allocator: admin thread only, but for its making and its end. Functions that are posted hold it weakly: those that
/// nobody runs any more then keep nothing alive.
struct AdminSide : std::enable_shared_from_this<AdminSide> {
  AdminSide(asio::io_context& c, OverlayService& s, Post p, std::weak_ptr<Listener> l)
      : control(c), service(s), post(std::move(p)), listener(std::move(l)) {}

  /// To this object on the admin thread.
  void here(std::function<void(AdminSide&)> work) {
    post([weak = weak_from_this(), work = std::move(work)] {
      if (auto self = weak.lock()) work(*self);
    });
  }
  /// To the control loop.
  void tell(std::function<void(Listener&)> what) {
    asio::post(control, [weak = listener, what = std::move(what)] {
      if (auto l = weak.lock()) what(*l);
    });
  }
  void begin() {
    service.on_change([weak = weak_from_this()] {
      auto self = weak.lock();
      if (self) self->changed();
      return self != nullptr;
    });
    push();
  }
  /// In the middle of a change of the allocator, which may not be asked then.
  void changed() {
    if (pushing) return;
    pushing = true;
    here([](AdminSide& self) { self.push(); });
  }
  void push() {
    pushing = false;
    auto feed = std::make_shared<Feed>(service.allocations(sent));
    if (*feed) sent = (*feed)->at;
    tell([feed](Listener& l) { l.on_feed(std::move(*feed)); });
  }

  asio::io_context& control;
  OverlayService& service;
  const Post post;
  const std::weak_ptr<Listener> listener;
  overlay::FeedPosition sent;
  bool pushing = false;
};

class LocalLink final : public OverlayLink {
 public:
  LocalLink(asio::io_context& io, const Clock& clock, OverlayService& service, Post post, const OverlayLinkOptions& options, OverlayLinkEvents events)
      : impl_(std::make_shared<Impl>(io, clock, options, std::move(events))) {
    impl_->admin = std::make_shared<AdminSide>(io, service, std::move(post), impl_);
  }
  ~LocalLink() override { stop(); }

  void start() override {
    impl_->admin->here([](AdminSide& a) { a.begin(); });
  }
  void stop() override { impl_->stop(); }
  void say(overlay::NodeRegistration n) override { impl_->say(std::move(n)); }
  void say_again() override { impl_->hurry(); }
  OverlayLinkStatus status() const override { return impl_->status(); }

 private:
  struct Impl final : Listener, std::enable_shared_from_this<Impl> {
    Impl(asio::io_context& io, const Clock& clock, const OverlayLinkOptions& options, OverlayLinkEvents events)
        : state(clock, options, std::move(events)), due(io), settled(io) {}

    void stop() {
      stopping = true;
      due.cancel();
      settled.cancel();
      admin.reset();
    }
    void say(overlay::NodeRegistration&& n) {
      auto as_text = overlay::registration_text(n);
      if (as_text == text) return;
      text = std::move(as_text);
      said = std::move(n);
      hurry();
    }
    void hurry() {
      again = true;
      if (!asked && followed && !text.empty()) send();
    }
    void send() {
      asked = true;
      again = false;
      due.cancel();
      admin->here([n = said](AdminSide& a) {
        auto answer = std::make_shared<Answer>(a.service.register_here(n, kHere));
        a.tell([answer](Listener& l) { l.on_answer(std::move(*answer)); });
      });
    }
    void on_answer(Answer&& answer) override {
      if (stopping) return;
      asked = false;
      Result<> result;
      if (answer) {
        result = state.allocated(std::move(*answer));
      } else if (answer.error().kind == api::OverlayFailure::Kind::kRefused) {
        state.refused({answer.error().reason, answer.error().why});
      } else {
        result = fail(answer.error().why);
      }
      auto pause = state.next(std::move(result), kHere);
      if (stopping) return;
      if (again) return send();
      due.expires_after(pause);
      due.async_wait([self = shared_from_this()](const boost::system::error_code& ec) {
        if (!ec && !self->stopping && !self->asked) self->send();
      });
    }
    void on_feed(Feed&& feed) override {
      if (stopping) return;
      bool good = false;
      if (feed) {
        auto taken = state.fed(true, std::move(*feed));
        good = taken.has_value();
        feed_error = good ? "" : taken.error().text();
      } else {
        feed_error = feed.error().why;
      }
      if (stopping) return;
      connected = good;
      if (auto left = state.copy().settling(); left > Millis(0)) settle(left);
      if (followed) return;
      followed = true;  // also without an allocator: the node is told why it gets nothing
      if (!text.empty()) send();
    }
    /// Asks for everything when the time is over in which nobody is removed.
    void settle(Millis left) {
      if (settling) return;
      settling = true;
      settled.expires_after(left);
      settled.async_wait([self = shared_from_this()](const boost::system::error_code& ec) {
        self->settling = false;
        if (ec || self->stopping) return;
        self->admin->here([](AdminSide& a) {
          a.sent = {};
          a.push();
        });
      });
    }
    OverlayLinkStatus status() const {
      auto out = state.status();
      out.connected = connected;
      out.endpoint = kHere;
      if (!feed_error.empty()) out.last_error = feed_error;
      return out;
    }

    OverlayLinkState state;
    asio::steady_timer due, settled;
    std::shared_ptr<AdminSide> admin;
    overlay::NodeRegistration said;
    std::string text, feed_error;
    bool again = false, asked = false, followed = false, connected = false, settling = false, stopping = false;
  };
  std::shared_ptr<Impl> impl_;
};

}  // namespace

std::unique_ptr<OverlayLink> make_local_overlay_link(asio::io_context& io, const Clock& clock, OverlayService& service, Post post,
                                                     OverlayLinkOptions options, OverlayLinkEvents events) {
  return std::make_unique<LocalLink>(io, clock, service, std::move(post), options, std::move(events));
}

}  // namespace ls
