#ifndef CHOIR_BASE_PARALLEL_H_
#define CHOIR_BASE_PARALLEL_H_

#include <cstddef>

#include "absl/functional/function_ref.h"

namespace choir {

// Runs task(0) to task(count - 1), in any order and perhaps at the same time, and returns when all
// are done. Passed into pure code, which has no threads of its own and gives the same bytes
// whatever it is given. Tasks do not throw.
using ParallelFor = absl::FunctionRef<void(size_t count, absl::FunctionRef<void(size_t)> task)>;

// One after the other, in the caller's thread.
void RunInOrder(size_t count, absl::FunctionRef<void(size_t)> task);

// On up to `threads` threads, of which the caller's is one; 0 for as many as the machine has cores.
// They are started for each call: for work of milliseconds and more.
class Threads {
 public:
  explicit Threads(size_t threads);
  void operator()(size_t count, absl::FunctionRef<void(size_t)> task) const;
  [[nodiscard]] size_t size() const { return threads_; }

 private:
  size_t threads_;
};

}  // namespace choir

#endif  // CHOIR_BASE_PARALLEL_H_
