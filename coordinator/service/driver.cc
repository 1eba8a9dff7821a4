#include "coordinator/service/driver.h"

#include <utility>

namespace choir::coordinator {
namespace {

// Deadlines are seconds; a tenth late is not noticed, and an idle tick costs next to nothing.
constexpr absl::Duration kTick = absl::Milliseconds(100);

}  // namespace

Driver::Driver(Coordinator& coordinator, std::function<void()> each_tick)
    : coordinator_(coordinator),
      each_tick_(std::move(each_tick)),
      ticking_([this] { KeepTicking(); }),
      computing_([this] { KeepWorking(WorkLane::kComputing); }),
      evaluating_([this] { KeepWorking(WorkLane::kEvaluating); }) {}

Driver::~Driver() {
  {
    absl::MutexLock lock(&mu_);
    stopping_ = true;
  }
  ticking_.join();
  computing_.join();
  evaluating_.join();
}

bool Driver::Pause() {
  absl::MutexLock lock(&mu_);
  return !mu_.AwaitWithTimeout(absl::Condition(&stopping_), kTick);
}

bool Driver::Stopping() {
  absl::MutexLock lock(&mu_);
  return stopping_;
}

void Driver::KeepTicking() {
  do {
    coordinator_.Tick();
    each_tick_();
  } while (Pause());
}

void Driver::KeepWorking(WorkLane lane) {
  while (!Stopping()) {
    if (coordinator_.DoWork(lane)) continue;
    if (lane == WorkLane::kComputing) coordinator_.SweepIfDue();
    coordinator_.WaitForWork(lane, kTick);
  }
}

}  // namespace choir::coordinator
