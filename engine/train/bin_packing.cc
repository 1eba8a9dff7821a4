#include "engine/train/bin_packing.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <set>
#include <utility>

namespace choir::engine {
namespace {

// Trials for each thing that is packed: with so many the 264 answers of biomedqa_qvac (40 to 118
// tokens) take 73 or 74 bins of 256; without, 76.
constexpr uint64_t kTrialsPerThing = 16;
constexpr uint64_t kMostBinsATrial = 5;

struct Bin {
  std::vector<uint32_t> things;
  uint64_t filled = 0;
};

std::vector<Bin> BestFitDecreasing(std::span<const uint32_t> sizes, uint32_t capacity) {
  std::vector<uint32_t> longest_first(sizes.size());
  std::iota(longest_first.begin(), longest_first.end(), 0U);
  std::stable_sort(longest_first.begin(), longest_first.end(),
                   [&](uint32_t x, uint32_t y) { return sizes[x] > sizes[y]; });
  std::vector<Bin> bins;
  std::set<std::pair<uint64_t, size_t>> open;  // room, bin
  for (const uint32_t thing : longest_first) {
    const auto fullest = open.lower_bound({sizes[thing], 0});
    size_t bin = bins.size();
    if (fullest != open.end()) {
      bin = fullest->second;
      open.erase(fullest);
    } else {
      bins.emplace_back();
    }
    bins[bin].things.push_back(thing);
    bins[bin].filled += sizes[thing];
    const uint64_t room = capacity - bins[bin].filled;
    if (room > 0) open.emplace(room, bin);
  }
  return bins;
}

// Empties a few bins at random and fills them again.
class Repacker {
 public:
  Repacker(std::span<const uint32_t> sizes, uint32_t capacity, std::vector<Bin>& bins,
           SeededRng& rng)
      : sizes_(sizes), capacity_(capacity), bins_(bins), rng_(rng) {}

  void Try() {
    Pick();
    for (size_t i = things_.size(); i > 1; --i) {
      std::swap(things_[i - 1], things_[rng_.NextBelow(i)]);
    }
    if (Fill() && IsBetter()) Keep();
  }

 private:
  void Pick() {
    const uint64_t most = std::min<uint64_t>(kMostBinsATrial, bins_.size());
    const uint64_t count = 2 + rng_.NextBelow(most - 1);
    picked_.clear();
    things_.clear();
    while (picked_.size() < count) {
      const size_t bin = rng_.NextBelow(bins_.size());
      if (std::find(picked_.begin(), picked_.end(), bin) != picked_.end()) continue;
      picked_.push_back(bin);
      things_.insert(things_.end(), bins_[bin].things.begin(), bins_[bin].things.end());
    }
  }
  // Each thing into the fullest bin that has room. False if they take more bins than before.
  bool Fill() {
    used_ = 0;
    for (const uint32_t thing : things_) {
      Bin* fullest = nullptr;
      for (size_t i = 0; i < used_; ++i) {
        Bin& bin = fresh_[i];
        if (bin.filled + sizes_[thing] > capacity_) continue;
        if (fullest == nullptr || bin.filled > fullest->filled) fullest = &bin;
      }
      if (fullest == nullptr) {
        if (used_ == picked_.size()) return false;
        fullest = &fresh_[used_++];
        fullest->things.clear();
        fullest->filled = 0;
      }
      fullest->things.push_back(thing);
      fullest->filled += sizes_[thing];
    }
    return true;
  }
  // Fewer, or as many of which some are fuller and others emptier: room that lies together is
  // room that a trial can use. As good is good enough: it leads to other places.
  [[nodiscard]] bool IsBetter() const {
    if (used_ < picked_.size()) return true;
    uint64_t before = 0;
    uint64_t after = 0;
    for (const size_t bin : picked_) before += bins_[bin].filled * bins_[bin].filled;
    for (size_t i = 0; i < used_; ++i) after += fresh_[i].filled * fresh_[i].filled;
    return after >= before;
  }
  void Keep() {
    for (size_t i = 0; i < used_; ++i) std::swap(bins_[picked_[i]], fresh_[i]);
    // From the back, so that the numbers of those that are left stay what they are.
    std::sort(picked_.begin() + static_cast<std::ptrdiff_t>(used_), picked_.end(),
              std::greater<>());
    for (size_t i = used_; i < picked_.size(); ++i) {
      std::swap(bins_[picked_[i]], bins_.back());
      bins_.pop_back();
    }
  }

  std::span<const uint32_t> sizes_;
  uint32_t capacity_;
  std::vector<Bin>& bins_;
  SeededRng& rng_;
  std::vector<size_t> picked_;
  std::vector<uint32_t> things_;
  Bin fresh_[kMostBinsATrial];
  size_t used_ = 0;
};

}  // namespace

std::vector<std::vector<uint32_t>> PackBins(std::span<const uint32_t> sizes, uint32_t capacity,
                                            SeededRng& rng) {
  std::vector<Bin> bins = BestFitDecreasing(sizes, capacity);
  const uint64_t fewest = FewestBins(sizes, capacity);
  Repacker repacker(sizes, capacity, bins, rng);
  for (uint64_t trial = 0; trial < kTrialsPerThing * sizes.size() && bins.size() > fewest;
       ++trial) {
    repacker.Try();
  }
  std::vector<std::vector<uint32_t>> result;
  result.reserve(bins.size());
  for (Bin& bin : bins) result.push_back(std::move(bin.things));
  return result;
}

uint64_t FewestBins(std::span<const uint32_t> sizes, uint32_t capacity) {
  std::vector<uint64_t> count(size_t{capacity} + 1);
  for (const uint32_t size : sizes) ++count[size];
  const uint64_t half = capacity / 2;
  // For k from 0: of things above capacity - k each fills a bin alone; those above half open one
  // each; those from k to half fill the room in these, and then bins of their own.
  uint64_t alone = 0;
  uint64_t large = 0;
  uint64_t large_room = 0;
  uint64_t small = 0;
  for (uint64_t size = 1; size <= capacity; ++size) {
    if (size <= half) {
      small += size * count[size];
    } else {
      large += count[size];
      large_room += (capacity - size) * count[size];
    }
  }
  uint64_t most = 0;
  for (uint64_t k = 0; k <= half; ++k) {
    if (k > 0) {
      const uint64_t size = capacity - k + 1;
      if (size > half) {
        alone += count[size];
        large -= count[size];
        large_room -= (capacity - size) * count[size];
      }
      small -= (k - 1) * count[k - 1];
    }
    const uint64_t rest = small > large_room ? small - large_room : 0;
    most = std::max(most, alone + large + (rest + capacity - 1) / capacity);
  }
  return most;
}

}  // namespace choir::engine
