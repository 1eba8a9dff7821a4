#ifndef CHOIR_COORDINATOR_SERVICE_TEST_COORDINATOR_H_
#define CHOIR_COORDINATOR_SERVICE_TEST_COORDINATOR_H_

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/time/time.h"

#include "base/clock.h"
#include "base/random.h"
#include "coordinator/service/coordinator.h"
#include "coordinator/service/test_federation.h"
#include "coordinator/service/test_node.h"
#include "tests/support/temp_dir.h"

namespace choir::coordinator {

// A coordinator in this process, without gRPC, with a clock that only the test moves, and its
// enrolled nodes. A fixture may inherit from it, to reach into its parts.
class TestCoordinator {
 public:
  // `wrap` may put a store of the test's around the real one.
  using WrapStore = std::function<std::unique_ptr<Store>(std::unique_ptr<Store>)>;
  explicit TestCoordinator(WrapStore wrap = {});

  // Slowly enough for the limit on enrolments.
  void AddNodes(uint64_t count);
  Coordinator& operator*() { return *coordinator_; }
  Coordinator* operator->() { return coordinator_.get(); }
  [[nodiscard]] BlobStore& blobs() { return *blobs_; }
  [[nodiscard]] const std::vector<std::unique_ptr<TestNode>>& nodes() const { return nodes_; }
  [[nodiscard]] absl::Time now() const { return clock_.now; }
  void Advance(absl::Duration by) { clock_.now += by; }
  // What a kill leaves is what the store and the folder hold: nothing is told to stop.
  void Restart();

 protected:
  class ManualClock final : public Clock {
   public:
    [[nodiscard]] absl::Time Now() const override { return now; }
    absl::Time now = absl::FromUnixSeconds(1'800'000'000);
  };

  // A fresh invite's.
  std::string Token();

  TempDir dir_;
  ManualClock clock_;
  SystemRandom random_;
  TestFederation federation_;
  std::unique_ptr<Federation> loaded_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<BlobStore> blobs_;
  std::unique_ptr<Coordinator> coordinator_;
  std::vector<std::unique_ptr<TestNode>> nodes_;

 private:
  void Open();

  WrapStore wrap_;
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_TEST_COORDINATOR_H_
