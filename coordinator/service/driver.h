#ifndef CHOIR_COORDINATOR_SERVICE_DRIVER_H_
#define CHOIR_COORDINATOR_SERVICE_DRIVER_H_

#include <functional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

#include "coordinator/service/coordinator.h"

namespace choir::coordinator {

// Keeps a coordinator going: one thread moves what time moves; one opens sums and merges, and
// sweeps when there is nothing of that; one merges where an evaluation is asked for. So no merge,
// however long, delays a tick, and no evaluation another run's round.
class Driver {
 public:
  // Starts all three. `each_tick` is called after each tick, from the ticking thread.
  Driver(Coordinator& coordinator, std::function<void()> each_tick);
  // Ends them; waits for the computations that are under way, and begins no other.
  ~Driver();
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

 private:
  void KeepTicking();
  void KeepWorking(WorkLane lane);
  // Waits a tick's length; false if it is time to end.
  bool Pause();
  bool Stopping();

  Coordinator& coordinator_;
  const std::function<void()> each_tick_;
  absl::Mutex mu_;
  bool stopping_ ABSL_GUARDED_BY(mu_) = false;
  // Last: they use the rest.
  std::thread ticking_;
  std::thread computing_;
  std::thread evaluating_;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_DRIVER_H_
