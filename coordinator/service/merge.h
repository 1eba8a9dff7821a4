#ifndef CHOIR_COORDINATOR_SERVICE_MERGE_H_
#define CHOIR_COORDINATOR_SERVICE_MERGE_H_

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/random.h"
#include "choir/v1/federation.pb.h"
#include "choir/v1/run.pb.h"
#include "coordinator/blob/blob_store.h"
#include "coordinator/gate/evaluation.h"
#include "coordinator/store/records.h"
#include "proto/trust/keys.h"
#include "secure-agg/core/messages.h"
#include "secure-agg/core/result_chain.h"

namespace choir::coordinator {

// All that a merge needs, by value: it runs beside the rest, without a lock.
struct MergeInput {
  struct Cohort {
    std::string session_id;
    secagg::RoundResult result;  // session, h3, sum hash and contributors; not yet signed
    std::string sum_path;        // the packed sum
  };
  v1::RunConfig config;
  v1::SignedDocument parent;  // AdapterVersion
  uint64_t round = 0;
  std::vector<Cohort> cohorts;
  std::optional<secagg::ChainHead> head;  // of the run's round results
  double clip_norm = 1;                   // of the round's sessions
  secagg::PrivacySpent privacy;           // what the results say
  absl::Time now;
  // Of the evaluation gate: who evaluates, and where its files may lie for the time being.
  Evaluate evaluate{};
  std::string gate_folder{};
};

struct MergeOutput {
  VersionRecord version;
  // Session id -> encoded, signed RoundResult; of the cohorts that went in.
  std::vector<std::pair<std::string, std::string>> results;
  uint32_t contributors = 0;
  std::optional<double> held_out_nll;
  double mean_train_loss = 0;  // loss sum / tokens; 0 without tokens
  uint64_t trained_tokens = 0;
  uint64_t num_clipped = 0;
  // The share of nodes that were not clipped, where the sums tell.
  std::optional<double> unclipped_share;
  // Sessions whose sum broke its bound, and how.
  std::vector<std::pair<std::string, absl::Status>> left_out;
};

// The version that follows `input.parent`: sums -> strategy -> adapter -> blob -> signed documents.
// The blob is stored; nothing else is. An error carries the reason code (ReasonOf) where it has
// one: kWorseThanParent (the evaluation gate), kSumOutOfBound or kSumInconsistent if no cohort's
// sum is good, kNonFiniteAdapter. `random` gives central noise.
absl::StatusOr<MergeOutput> MergeRound(const MergeInput& input, const trust::SigningKey& key,
                                       BlobStore& blobs, RandomSource& random);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_MERGE_H_
