#ifndef CHOIR_COORDINATOR_SERVICE_TEST_LIARS_H_
#define CHOIR_COORDINATOR_SERVICE_TEST_LIARS_H_

#include <functional>
#include <memory>
#include <ostream>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "coordinator/service/server.h"
#include "coordinator/service/test_federation.h"
#include "coordinator/service/test_lying_node.h"
#include "tests/support/forward_clock.h"
#include "tests/support/temp_dir.h"

namespace choir::coordinator {

using HangUp = LyingCalls::HangUp;
using Lies = LyingCalls::Lies;

inline constexpr uint64_t kLiar = 3;
inline const std::string kStranger(32, '\xff');

class WatchedCalls;

// A node that lies, over gRPC: three honest nodes and one liar with real keys, real calls over
// mTLS, the whole coordinator. Each lie is refused by its own reason, the others' sum stays exact,
// and nothing is left behind.
class LiarTest : public testing::Test {
 protected:
  LiarTest();
  ~LiarTest() override;
  static void SetUpTestSuite();

  std::unique_ptr<RemoteCalls> Enrol(TestNode& node);
  void Start(uint32_t rounds);
  // Everybody steps until the run is over. Once the liar is gone and the others only wait, their
  // stage's time is over. `each` runs before each of the liar's steps, in its thread.
  void Play(const std::function<void()>& each = [] {});
  v1::RunStatus Status() { return operator_->GetRun("demo"); }

  // The contributors to the last version, after a look at its every value: the start and the exact
  // mean of what they meant to give in the rounds so far.
  std::vector<uint64_t> ExactContributors(uint64_t versions);
  // What the coordinator wrote down about one node's shares. Ends the server.
  bool NamedLiar(const std::string& id);
  // No masked input and no sum outlives its round.
  std::vector<std::string> LeftInSpool();
  static std::string NameOf(const absl::Status& status);

  TempDir dir_;
  ForwardClock clock_;
  SystemRandom random_;
  TestFederation federation_;
  std::unique_ptr<Server> server_;
  rpc::TlsIdentity operator_identity_;
  std::unique_ptr<RemoteOperator> operator_;
  std::unique_ptr<BlobStore> blobs_;
  std::string federation_id_;
  std::vector<std::unique_ptr<TestNode>> nodes_;  // the last one lies
  std::vector<std::unique_ptr<WatchedCalls>> honest_;
  std::unique_ptr<LyingCalls> liar_;
  absl::Status liars_end_;

 private:
  std::shared_ptr<grpc::Channel> Channel(const rpc::TlsIdentity& identity);
  void PutTheClockForwardWhenAllWait(const std::function<bool()>& liar_gone);
};

enum class Sum : uint8_t {
  kOfAll,         // the liar mended its ways, or did no harm
  kOfTheOthers,   // the liar is left out
  kOfALaterRound  // the round was abandoned, by the reason; the next one works
};

// One lie, and what comes of it.
struct Case {
  const char* name;
  const char* reason;  // of the refusal, or of the abandoned round; "" for neither
  Sum sum;
  void (*lie)(Lies& lies);
  size_t contributors = 4;
};
inline void PrintTo(const Case& test, std::ostream* out) {
  *out << test.name;
}
inline std::string NameOfLie(const testing::TestParamInfo<Case>& test) {
  return test.param.name;
}

// Tells one lie; the tables of lies are in *_lies_test.cc.
class LieTest : public LiarTest, public testing::WithParamInterface<Case> {};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_TEST_LIARS_H_
