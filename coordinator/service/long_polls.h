#ifndef CHOIR_COORDINATOR_SERVICE_LONG_POLLS_H_
#define CHOIR_COORDINATOR_SERVICE_LONG_POLLS_H_

#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace choir::coordinator {

// Callers that wait for something to happen, without a thread each. Thread-safe; attempts are made
// in the thread that notifies, so nobody may notify while holding a lock that an attempt takes. An
// attempt may itself notify.
class LongPolls {
 public:
  // Answers the caller and returns true, or returns false to go on waiting. With `last` it must
  // answer. Never called again once it has answered, nor by two threads at once.
  using Attempt = std::function<bool(bool last)>;

  // Tries at once, then whenever `topic` is notified, and for the last time at `deadline`.
  // RESOURCE_EXHAUSTED, without an attempt, if too many are waiting.
  absl::Status Wait(const std::string& topic, absl::Time deadline, Attempt attempt);
  void Notify(const std::string& topic);
  void Expire(absl::Time now);
  // Answers everybody, and from now on everybody who comes.
  void Stop();

 private:
  struct Waiter {
    Attempt attempt;  // used by the one thread that set `busy`
    absl::Time deadline;
    absl::Mutex mu;
    bool busy ABSL_GUARDED_BY(mu) = false;
    bool again ABSL_GUARDED_BY(mu) = false;  // notified while busy
    bool last ABSL_GUARDED_BY(mu) = false;   // it must answer
    bool answered ABSL_GUARDED_BY(mu) = false;
  };
  // True if it has answered, now or before. No lock is held during an attempt.
  static bool Try(Waiter& waiter, bool last);
  void Remove(const std::string& topic, const std::shared_ptr<Waiter>& waiter);

  absl::Mutex mu_;
  // shared_ptr: a waiter may be removed by one thread while another still tries it.
  std::map<std::string, std::vector<std::shared_ptr<Waiter>>> topics_ ABSL_GUARDED_BY(mu_);
  size_t waiting_ ABSL_GUARDED_BY(mu_) = 0;
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_LONG_POLLS_H_
