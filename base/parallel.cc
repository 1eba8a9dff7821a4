#include "base/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace choir {

void RunInOrder(size_t count, absl::FunctionRef<void(size_t)> task) {
  for (size_t i = 0; i < count; ++i) task(i);
}

Threads::Threads(size_t threads)
    : threads_(threads != 0 ? threads : std::max(1u, std::thread::hardware_concurrency())) {}

void Threads::operator()(size_t count, absl::FunctionRef<void(size_t)> task) const {
  std::atomic<size_t> next{0};
  const auto work = [&] {
    for (size_t i = next++; i < count; i = next++) task(i);
  };
  std::vector<std::jthread> others;
  for (size_t i = 1; i < std::min(threads_, count); ++i) others.emplace_back(work);
  work();
}

}  // namespace choir
