#include "engine/backend/vulkan/hazard_tracker.h"

#include <gtest/gtest.h>

namespace choir::engine::vulkan {
namespace {

Access Read(uint32_t buffer, uint64_t offset, uint64_t bytes) {
  return {{buffer, 0, offset, bytes}, true, false, false};
}
Access Write(uint32_t buffer, uint64_t offset, uint64_t bytes) {
  return {{buffer, 0, offset, bytes}, false, true, false};
}

bool Add(HazardTracker& tracker, std::vector<Access> accesses) {
  return tracker.Add(accesses);
}

TEST(HazardTrackerTest, ReadsOfOneRangeNeedNoBarrier) {
  HazardTracker tracker;
  EXPECT_FALSE(Add(tracker, {Read(0, 0, 64)}));
  EXPECT_FALSE(Add(tracker, {Read(0, 0, 64)}));
}

TEST(HazardTrackerTest, ReadAfterWriteWaits) {
  HazardTracker tracker;
  EXPECT_FALSE(Add(tracker, {Write(0, 0, 64)}));
  EXPECT_TRUE(Add(tracker, {Read(0, 63, 1)}));
}

TEST(HazardTrackerTest, WriteAfterReadAndWriteAfterWriteWait) {
  HazardTracker tracker;
  EXPECT_FALSE(Add(tracker, {Read(0, 0, 64)}));
  EXPECT_TRUE(Add(tracker, {Write(0, 0, 4)}));
  EXPECT_TRUE(Add(tracker, {Write(0, 0, 4)}));
}

TEST(HazardTrackerTest, NeighboursAndOtherBuffersDoNotWait) {
  HazardTracker tracker;
  EXPECT_FALSE(Add(tracker, {Write(0, 16, 16)}));
  EXPECT_FALSE(Add(tracker, {Write(0, 0, 16), Write(0, 32, 16), Write(1, 16, 16)}));
  EXPECT_FALSE(Add(tracker, {Write(2, 0, 4)}));
}

TEST(HazardTrackerTest, ABarrierForgetsWhatCameBefore) {
  HazardTracker tracker;
  EXPECT_FALSE(Add(tracker, {Write(0, 0, 64), Write(1, 0, 64)}));
  EXPECT_TRUE(Add(tracker, {Read(0, 0, 64)}));
  EXPECT_FALSE(Add(tracker, {Read(1, 0, 64)}));
}

TEST(HazardTrackerTest, BindingsThatAreNotTouchedNeverWait) {
  HazardTracker tracker;
  EXPECT_FALSE(Add(tracker, {Write(0, 0, 64)}));
  EXPECT_FALSE(Add(tracker, {{{0, 0, 0, 64}, false, false, false}}));
}

}  // namespace
}  // namespace choir::engine::vulkan
