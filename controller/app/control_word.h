#pragma once
/// ControlWord: the daemon's side of ls_ctl (include/loadstar/abi), mapped: which events programs send, and what they count there.
/// Thread: any, single words. Errors: errno of the mapping. Cost: a store or a load.
#include <sys/mman.h>

#include <cerrno>

#include "loadstar/abi/lb.h"
#include "util/result.h"

namespace ls {

class ControlWord {
 public:
  Result<> open(int fd) {
    void* at = mmap(nullptr, sizeof(ls_ctl), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (at == MAP_FAILED) return fail(errno, "map ls_ctl");
    ctl_ = static_cast<ls_ctl*>(at);
    want(0);
    return {};
  }
  ~ControlWord() {
    if (ctl_) munmap(ctl_, sizeof *ctl_);
  }
  void want(uint32_t mask) {
    if (ctl_) __atomic_store_n(&ctl_->events, mask, __ATOMIC_RELEASE);
  }
  uint64_t events_lost() const { return ctl_ ? __atomic_load_n(&ctl_->events_lost, __ATOMIC_RELAXED) : 0; }
  uint64_t overflows() const { return ctl_ ? __atomic_load_n(&ctl_->overflows, __ATOMIC_RELAXED) : 0; }

 private:
  ls_ctl* ctl_ = nullptr;
};

}  // namespace ls
