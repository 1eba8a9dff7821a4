#ifndef CHOIR_ENGINE_BACKEND_CPU_THREAD_POOL_H_
#define CHOIR_ENGINE_BACKEND_CPU_THREAD_POOL_H_

// Worker threads of one backend. The caller works too, as worker 0. Tasks are handed out one by
// one, so a task must not depend on which worker runs it: then results are the same for any number
// of threads.

#include <atomic>
#include <cstdint>
#include <memory>
#include <thread>
#include <type_traits>
#include <vector>

namespace choir::engine {

// oneDNN runs in our threads, one product a thread: in the calling thread, its OpenMP team has one
// member from now on. A primitive keeps the size that the team has when it is made, so this must
// come before that, too; a team of two spins away the processor that other work waits for.
void KeepLibrariesOnThisThread();

class ThreadPool {
 public:
  // `num_threads` counts the caller; at least 1.
  explicit ThreadPool(int num_threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  [[nodiscard]] int num_threads() const { return static_cast<int>(threads_.size()) + 1; }

  // Calls task(index, worker) for each index in [0, count), and returns when all are done. One call
  // at a time; tasks must not call it.
  template <typename Task>
  void ParallelFor(int64_t count, Task&& task) {
    using Callable = std::remove_reference_t<Task>;
    Dispatch(count, &task, [](void* context, int64_t index, int worker) {
      (*static_cast<Callable*>(context))(index, worker);
    });
  }

 private:
  using Call = void (*)(void* context, int64_t index, int worker);

  void Dispatch(int64_t count, void* context, Call call);
  void WorkerLoop(int worker);
  void Work(int worker);

  // The current job. Read only by who has claimed one of its tasks: then Dispatch, which waits for
  // that task, cannot have gone on to the next job.
  void* context_ = nullptr;
  Call call_ = nullptr;
  int64_t count_ = 0;

  alignas(64) std::atomic<int64_t> unclaimed_{0};
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<int64_t> unfinished_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_THREAD_POOL_H_
