#include "engine/backend/cpu/thread_pool.h"

#include <vector>

#include <gtest/gtest.h>

namespace choir::engine {
namespace {

// More threads than processors, and jobs so short that workers keep coming late: each must find the
// job that is on, or none, and never take a task of one that is over.
TEST(ThreadPoolTest, EveryTaskOfEveryJobRunsOnce) {
  ThreadPool pool(8);
  for (int job = 0; job < 3000; ++job) {
    const int count = job % 11;
    std::vector<int> runs(static_cast<size_t>(count), 0);
    pool.ParallelFor(count, [&](int64_t index, int) { ++runs[static_cast<size_t>(index)]; });
    for (const int times : runs) ASSERT_EQ(times, 1) << "job " << job;
  }
}

TEST(ThreadPoolTest, NoTwoTasksAtOnceHaveOneWorkersNumber) {
  ThreadPool pool(4);
  std::vector<std::atomic<int>> inside(4);
  std::atomic<int> clashes{0};
  for (int job = 0; job < 500; ++job) {
    pool.ParallelFor(16, [&](int64_t, int worker) {
      const auto slot = static_cast<size_t>(worker);
      if (inside[slot].fetch_add(1) != 0) clashes.fetch_add(1);
      inside[slot].fetch_sub(1);
    });
  }
  EXPECT_EQ(clashes.load(), 0);
}

}  // namespace
}  // namespace choir::engine
