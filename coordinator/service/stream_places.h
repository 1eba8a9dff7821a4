#ifndef CHOIR_COORDINATOR_SERVICE_STREAM_PLACES_H_
#define CHOIR_COORDINATOR_SERVICE_STREAM_PLACES_H_

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

namespace choir::coordinator {

// The places of calls that keep one of gRPC's threads for as long as they stream: so many for one
// caller, so many in all, and none for a stream that stands still. Thread-safe.
class StreamPlaces {
 public:
  struct Limits {
    std::string what;  // for people: "downloads"
    size_t per_caller = 1;
    size_t total = 1;
    absl::Duration stall;
    // A caller that has all its places gets another, and its oldest stream is ended: it has
    // probably lost its line. Otherwise it is refused.
    bool newest_wins = false;
  };
  // Given up when it goes. Must not outlive the places.
  class Place {
   public:
    Place(StreamPlaces& places, uint64_t id) : places_(places), id_(id) {}
    ~Place();
    Place(const Place&) = delete;
    Place& operator=(const Place&) = delete;
    // Something was sent or received.
    void Moved(absl::Time now);

   private:
    StreamPlaces& places_;
    const uint64_t id_;
  };

  explicit StreamPlaces(Limits limits) : limits_(std::move(limits)) {}

  // RESOURCE_EXHAUSTED if there is none now. `cancel` ends the stream, from any thread: it is
  // called under the lock, while the place is taken.
  absl::StatusOr<std::unique_ptr<Place>> Take(const std::string& caller, absl::Time now,
                                              std::function<void()> cancel);
  // Ends the streams that have stood still for too long; how many.
  size_t CancelStalled(absl::Time now);

 private:
  struct Entry {
    std::string caller;
    std::function<void()> cancel;
    absl::Time moved;
    bool cancelled = false;
  };
  void Give(uint64_t id);

  const Limits limits_;
  absl::Mutex mu_;
  uint64_t next_ ABSL_GUARDED_BY(mu_) = 0;
  std::map<uint64_t, Entry> taken_ ABSL_GUARDED_BY(mu_);  // oldest first
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_STREAM_PLACES_H_
