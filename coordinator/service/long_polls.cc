#include "coordinator/service/long_polls.h"

#include <algorithm>
#include <utility>

namespace choir::coordinator {
namespace {

// About 1 KB each; more nodes than one coordinator is meant for.
constexpr size_t kMaxWaiting = 16384;

}  // namespace

bool LongPolls::Try(Waiter& waiter, bool last) {
  absl::MutexLock lock(&waiter.mu);
  if (waiter.answered) return true;
  waiter.last = waiter.last || last;
  waiter.again = true;
  // Whoever is at it looks once more when it is through.
  if (waiter.busy) return false;
  waiter.busy = true;
  while (waiter.again && !waiter.answered) {
    waiter.again = false;
    const bool must_answer = waiter.last;
    waiter.mu.Unlock();
    const bool answered = waiter.attempt(must_answer);
    waiter.mu.Lock();
    waiter.answered = answered;
  }
  waiter.busy = false;
  return waiter.answered;
}

absl::Status LongPolls::Wait(const std::string& topic, absl::Time deadline, Attempt attempt) {
  auto waiter = std::make_shared<Waiter>();
  waiter->deadline = deadline;
  waiter->attempt = std::move(attempt);
  bool last = false;
  {
    absl::MutexLock lock(&mu_);
    if (waiting_ >= kMaxWaiting) {
      return absl::ResourceExhaustedError("too many calls are waiting; try again later");
    }
    last = stopped_;
    // In the list before the first attempt, so that nothing that happens in between is missed.
    topics_[topic].push_back(waiter);
    ++waiting_;
  }
  if (Try(*waiter, last)) Remove(topic, waiter);
  return absl::OkStatus();
}

void LongPolls::Remove(const std::string& topic, const std::shared_ptr<Waiter>& waiter) {
  absl::MutexLock lock(&mu_);
  const auto it = topics_.find(topic);
  if (it == topics_.end()) return;
  waiting_ -= std::erase(it->second, waiter);
  if (it->second.empty()) topics_.erase(it);
}

void LongPolls::Notify(const std::string& topic) {
  std::vector<std::shared_ptr<Waiter>> waiters;
  {
    absl::MutexLock lock(&mu_);
    const auto it = topics_.find(topic);
    if (it == topics_.end()) return;
    waiters = it->second;
  }
  for (const auto& waiter : waiters) {
    if (Try(*waiter, false)) Remove(topic, waiter);
  }
}

void LongPolls::Expire(absl::Time now) {
  std::vector<std::pair<std::string, std::shared_ptr<Waiter>>> due;
  {
    absl::MutexLock lock(&mu_);
    for (const auto& [topic, waiters] : topics_) {
      for (const auto& waiter : waiters) {
        if (waiter->deadline <= now) due.emplace_back(topic, waiter);
      }
    }
  }
  for (const auto& [topic, waiter] : due) {
    if (Try(*waiter, true)) Remove(topic, waiter);
  }
}

void LongPolls::Stop() {
  {
    absl::MutexLock lock(&mu_);
    stopped_ = true;
  }
  Expire(absl::InfiniteFuture());
}

}  // namespace choir::coordinator
