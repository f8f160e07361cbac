#include "cni/deadline.h"

#include <signal.h>
#include <sys/time.h>

#include <atomic>

namespace ls::cni {
namespace {

volatile sig_atomic_t g_passed = 0;

void on_alarm(int) { g_passed = 1; }

}  // namespace

void Deadline::set(std::chrono::milliseconds from_now) {
  struct sigaction action {};
  action.sa_handler = on_alarm;  // without SA_RESTART: the wait it falls into ends with EINTR
  sigaction(SIGALRM, &action, nullptr);
  g_passed = 0;
  itimerval timer{};
  timer.it_value.tv_sec = from_now.count() / 1000;
  timer.it_value.tv_usec = (from_now.count() % 1000) * 1000;
  timer.it_interval.tv_usec = 50 * 1000;
  setitimer(ITIMER_REAL, &timer, nullptr);
}

bool Deadline::passed() { return g_passed != 0; }

}  // namespace ls::cni
