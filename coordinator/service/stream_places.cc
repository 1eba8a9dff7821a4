#include "coordinator/service/stream_places.h"

#include <utility>

#include <fmt/format.h>

namespace choir::coordinator {

StreamPlaces::Place::~Place() {
  places_.Give(id_);
}

void StreamPlaces::Place::Moved(absl::Time now) {
  absl::MutexLock lock(&places_.mu_);
  places_.taken_.at(id_).moved = now;
}

absl::StatusOr<std::unique_ptr<StreamPlaces::Place>> StreamPlaces::Take(
    const std::string& caller, absl::Time now, std::function<void()> cancel) {
  absl::MutexLock lock(&mu_);
  size_t own = 0;
  Entry* oldest = nullptr;
  for (auto& [id, entry] : taken_) {
    if (entry.caller != caller || entry.cancelled) continue;
    ++own;
    if (oldest == nullptr) oldest = &entry;
  }
  if (own >= limits_.per_caller && !limits_.newest_wins) {
    return absl::ResourceExhaustedError(
        fmt::format("this caller has {} {} under way already, at most {}; try again when one ends",
                    own, limits_.what, limits_.per_caller));
  }
  if (taken_.size() >= limits_.total) {
    return absl::ResourceExhaustedError(
        fmt::format("the coordinator has {} {} under way and no room for another; try again later",
                    taken_.size(), limits_.what));
  }
  if (own >= limits_.per_caller && oldest != nullptr) {
    oldest->cancelled = true;
    oldest->cancel();
  }
  const uint64_t id = next_++;
  taken_[id] = Entry{caller, std::move(cancel), now, false};
  return std::make_unique<Place>(*this, id);
}

void StreamPlaces::Give(uint64_t id) {
  absl::MutexLock lock(&mu_);
  taken_.erase(id);
}

size_t StreamPlaces::CancelStalled(absl::Time now) {
  absl::MutexLock lock(&mu_);
  size_t count = 0;
  for (auto& [id, entry] : taken_) {
    if (entry.cancelled || now - entry.moved < limits_.stall) continue;
    entry.cancelled = true;
    entry.cancel();
    ++count;
  }
  return count;
}

}  // namespace choir::coordinator
