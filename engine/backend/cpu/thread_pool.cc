#include "engine/backend/cpu/thread_pool.h"

#include <chrono>

#include "base/check.h"

// Declared here because clang's <omp.h> belongs to another runtime.
extern "C" void omp_set_num_threads(int num_threads);

namespace choir::engine {
namespace {

// Waits a little in a loop before sleeping: the gap between two ops is a few microseconds, and
// waking a sleeping thread costs about fifty. In a virtual machine a generator's worker that slept
// after that was away half the time (`top`), so it goes on for a while, but leaves the processor
// to whoever wants it.
constexpr int kSpins = 4000;
constexpr std::chrono::milliseconds kLinger{2};

template <typename Done>
bool SpinUntil(Done done) {
  for (int i = 0; i < kSpins; ++i) {
    if (done()) return true;
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }
  const auto end = std::chrono::steady_clock::now() + kLinger;
  do {
    if (done()) return true;
    std::this_thread::yield();
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

}  // namespace

void KeepLibrariesOnThisThread() {
  omp_set_num_threads(1);
}

ThreadPool::ThreadPool(int num_threads) {
  CHOIR_CHECK(num_threads >= 1);
  for (int worker = 1; worker < num_threads; ++worker) {
    threads_.emplace_back([this, worker] { WorkerLoop(worker); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  generation_.fetch_add(1);
  generation_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

// Claims tasks while there are any. A worker that comes late, because other programs have the
// processor, finds none and does no harm: nobody waits for a worker, only for claimed tasks.
void ThreadPool::Work(int worker) {
  int64_t left = unclaimed_.load();
  while (left > 0) {
    if (!unclaimed_.compare_exchange_weak(left, left - 1)) continue;
    call_(context_, count_ - left, worker);
    if (unfinished_.fetch_sub(1) == 1) unfinished_.notify_one();
    left = unclaimed_.load();
  }
}

void ThreadPool::WorkerLoop(int worker) {
  KeepLibrariesOnThisThread();
  uint32_t seen = 0;
  for (;;) {
    if (!SpinUntil([&] { return generation_.load() != seen; })) generation_.wait(seen);
    seen = generation_.load();
    if (stopping_.load()) return;
    Work(worker);
  }
}

void ThreadPool::Dispatch(int64_t count, void* context, Call call) {
  KeepLibrariesOnThisThread();
  if (threads_.empty() || count <= 1) {
    for (int64_t index = 0; index < count; ++index) call(context, index, 0);
    return;
  }
  context_ = context;
  call_ = call;
  count_ = count;
  unfinished_.store(count);
  unclaimed_.store(count);
  generation_.fetch_add(1);
  generation_.notify_all();
  Work(0);
  const auto finished = [this] { return unfinished_.load() == 0; };
  if (SpinUntil(finished)) return;
  for (int64_t left = unfinished_.load(); left != 0; left = unfinished_.load()) {
    unfinished_.wait(left);
  }
}

}  // namespace choir::engine
