#include "engine/train/bin_packing.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <vector>

#include <gtest/gtest.h>

namespace choir::engine {
namespace {

std::vector<uint32_t> RandomSizes(size_t count, uint32_t least, uint32_t most, uint64_t seed) {
  SeededRng rng(seed);
  std::vector<uint32_t> sizes(count);
  for (uint32_t& size : sizes) {
    size = least + static_cast<uint32_t>(rng.NextBelow(most - least + 1));
  }
  return sizes;
}

// Each thing in one bin, no bin too full; returns how many bins.
size_t CheckedPack(const std::vector<uint32_t>& sizes, uint32_t capacity, uint64_t seed = 1) {
  SeededRng rng(seed);
  std::vector<int> seen(sizes.size());
  const auto bins = PackBins(sizes, capacity, rng);
  for (const std::vector<uint32_t>& bin : bins) {
    EXPECT_FALSE(bin.empty());
    uint64_t filled = 0;
    for (const uint32_t thing : bin) {
      filled += sizes.at(thing);
      ++seen.at(thing);
    }
    EXPECT_LE(filled, capacity);
  }
  EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](int times) { return times == 1; }));
  return bins.size();
}

TEST(BinPackingTest, EveryThingIsInOneBinAndNoneOverflows) {
  for (const uint32_t capacity : {1U, 2U, 7U, 64U, 1000U}) {
    for (const size_t count : {0, 1, 2, 3, 50, 300}) {
      const std::vector<uint32_t> sizes = RandomSizes(count, 1, capacity, count + capacity);
      const size_t bins = CheckedPack(sizes, capacity);
      EXPECT_GE(bins, FewestBins(sizes, capacity));
      EXPECT_LE(bins, count);
    }
  }
}

// The longest first, each into the fullest bin that has room, and no more.
size_t BestFitDecreasing(std::vector<uint32_t> sizes, uint32_t capacity) {
  std::sort(sizes.begin(), sizes.end(), std::greater<>());
  std::vector<uint32_t> rooms;
  for (const uint32_t size : sizes) {
    uint32_t* fullest = nullptr;
    for (uint32_t& room : rooms) {
      if (room >= size && (fullest == nullptr || room < *fullest)) fullest = &room;
    }
    if (fullest == nullptr) fullest = &rooms.emplace_back(capacity);
    *fullest -= size;
  }
  return rooms.size();
}

// As short documents are: three or four to a bin.
TEST(BinPackingTest, RepackingFillsMoreThanBestFitDoes) {
  for (const uint64_t seed : {1, 2, 3}) {
    const std::vector<uint32_t> sizes = RandomSizes(264, 40, 100, seed);
    const size_t bins = CheckedPack(sizes, 256);
    EXPECT_LT(bins, BestFitDecreasing(sizes, 256)) << seed;
    const auto total = static_cast<double>(std::accumulate(sizes.begin(), sizes.end(), 0U));
    EXPECT_GT(total / (256.0 * static_cast<double>(bins)), 0.965) << seed;
  }
}

TEST(BinPackingTest, TheSeedDecides) {
  const std::vector<uint32_t> sizes = RandomSizes(264, 40, 100, 1);
  const auto pack = [&](uint64_t seed) {
    SeededRng rng(seed);
    return PackBins(sizes, 256, rng);
  };
  EXPECT_EQ(pack(5), pack(5));
  EXPECT_NE(pack(5), pack(6));
}

TEST(BinPackingTest, TheBoundCountsWhatCannotShare) {
  EXPECT_EQ(FewestBins(std::vector<uint32_t>{}, 10), 0U);
  EXPECT_EQ(FewestBins(std::vector<uint32_t>{5, 5, 5, 5}, 10), 2U);
  EXPECT_EQ(FewestBins(std::vector<uint32_t>{6, 6, 6}, 10), 3U);
  // The 8 has no room for a 3, and each 6 for one of them.
  EXPECT_EQ(FewestBins(std::vector<uint32_t>{8, 6, 6, 3, 3}, 10), 3U);
  EXPECT_EQ(FewestBins(std::vector<uint32_t>{8, 6, 6, 3, 3, 3}, 10), 4U);
  EXPECT_EQ(FewestBins(std::vector<uint32_t>{10, 10, 1}, 10), 3U);
}

// Against trying everything, where that is possible.
uint64_t FewestByTrying(std::vector<uint32_t> sizes, uint32_t capacity) {
  std::sort(sizes.begin(), sizes.end());
  uint64_t fewest = sizes.size();
  do {
    uint64_t bins = 0;
    uint32_t room = 0;
    for (const uint32_t size : sizes) {
      if (size > room) {
        ++bins;
        room = capacity;
      }
      room -= size;
    }
    fewest = std::min(fewest, bins);
  } while (std::next_permutation(sizes.begin(), sizes.end()));
  return fewest;
}

TEST(BinPackingTest, TheBoundIsNeverAboveTheBestPacking) {
  for (uint64_t seed = 1; seed <= 40; ++seed) {
    const std::vector<uint32_t> sizes = RandomSizes(7, 1, 12, seed);
    const uint64_t best = FewestByTrying(sizes, 12);
    EXPECT_LE(FewestBins(sizes, 12), best) << seed;
    EXPECT_EQ(CheckedPack(sizes, 12), best) << seed;
  }
}

}  // namespace
}  // namespace choir::engine
