#pragma once
/// Epoch-based reclamation: many threads follow raw pointers without a lock while one thread replaces what they point to.
///
/// A reader holds a Guard while it looks at shared objects. The writer unlinks an object first, then retires it; it is freed
/// when every Guard that was held at that moment has ended.
/// Threads: add_reader and Guard from any; retire and collect from one thread at a time (the writer).
/// Cost: a Guard is two stores and one fence; a batch of packets shares one. retire() is a push; collect() is O(readers + freed).
/// What it may not do: hold a Guard across anything that blocks, or the writer's list grows.
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>

namespace ls {

class Epoch {
 public:
  static constexpr size_t kMaxReaders = 512;  ///< threads and long-lived dumpers, not packets

  Epoch() = default;
  Epoch(const Epoch&) = delete;
  Epoch& operator=(const Epoch&) = delete;
  ~Epoch();  ///< no reader may be left; frees what is retired

  class Guard;

  /// A reading thread's place. Belongs to one thread at a time; must end before the Epoch.
  class Reader {
   public:
    explicit Reader(Epoch& epoch);  ///< aborts when all kMaxReaders places are taken: a programming error
    ~Reader();
    Reader(const Reader&) = delete;
    Reader& operator=(const Reader&) = delete;

   private:
    friend class Guard;
    Epoch& epoch_;
    size_t slot_;
  };

  /// Not to be nested on one Reader.
  class Guard {
   public:
    explicit Guard(Reader& reader);
    ~Guard();
    Guard(const Guard&) = delete;
    Guard& operator=(const Guard&) = delete;

   private:
    std::atomic<uint64_t>& state_;
  };

  template <class T>
  void retire(std::unique_ptr<T> object) {
    retire(object.release(), [](void* p) { delete static_cast<T*>(p); });
  }
  void retire(void* object, void (*free)(void*));
  /// Frees what no Guard can see any more. Call after each change.
  void collect();
  size_t retired() const { return retired_.size(); }

 private:
  struct alignas(64) Slot {
    std::atomic<uint64_t> state{0};  ///< 0: outside; else the epoch at which its Guard began
    std::atomic<bool> taken{false};
  };
  struct Retired {
    uint64_t epoch;
    void* object;
    void (*free)(void*);
  };
  std::array<Slot, kMaxReaders> slots_;
  std::atomic<uint64_t> now_{1};
  std::atomic<size_t> used_{0};  ///< places that were ever taken; the rest need not be looked at
  std::deque<Retired> retired_;
};

}  // namespace ls
