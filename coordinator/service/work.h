#ifndef CHOIR_COORDINATOR_SERVICE_WORK_H_
#define CHOIR_COORDINATOR_SERVICE_WORK_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <variant>

#include "absl/status/statusor.h"

#include "coordinator/service/merge.h"
#include "secure-agg/server/server_session.h"

// The computations of a round that take long: done without the coordinator's lock. Meanwhile the
// run may go on without them: what they bring says which session or round it is for.
namespace choir::coordinator {

// Open a cohort's sum and write it to `sum_path`.
struct UnmaskWork {
  uint32_t cohort = 0;
  secagg::ServerSession core;  // in kUnmasking, ready to be closed
  std::string folder;
  std::string sum_path;
};
struct UnmaskDone {
  uint32_t cohort = 0;
  std::string session_id;
  std::string folder;
  // Unsigned and without an adapter: who contributed, h3 and the sum's hash.
  absl::StatusOr<secagg::RoundResult> result;
  std::vector<secagg::NodeId> liars;  // whom opening the sum named, whether it succeeded or not
};
struct MergeDone {
  uint64_t round = 0;
  absl::StatusOr<MergeOutput> output;
};
using Work = std::variant<UnmaskWork, MergeInput>;
// Who does it. An evaluation may take minutes, and only runs that want one wait for it.
enum class WorkLane : uint8_t {
  kComputing = 0,   // opens sums; merges of runs without an evaluation gate
  kEvaluating = 1,  // merges of runs with one
};
inline constexpr size_t kWorkLanes = 2;
using WorkDone = std::variant<UnmaskDone, MergeDone>;

WorkDone DoWork(Work work, const trust::SigningKey& key, BlobStore& blobs, RandomSource& random);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_WORK_H_
