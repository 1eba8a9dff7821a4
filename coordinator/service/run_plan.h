#ifndef CHOIR_COORDINATOR_SERVICE_RUN_PLAN_H_
#define CHOIR_COORDINATOR_SERVICE_RUN_PLAN_H_

#include <cstdint>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/random.h"
#include "base/sha256.h"
#include "choir/v1/federation.pb.h"
#include "choir/v1/run.pb.h"
#include "coordinator/blob/blob_store.h"
#include "coordinator/round/round_state.h"
#include "coordinator/strategy/strategy.h"
#include "engine/lora/adapter.h"
#include "secure-agg/core/messages.h"

// A run's configuration: what an operator may ask for, and what follows from it.
namespace choir::coordinator {

// Fills in what was left out (waits, codec range, sizes) and checks everything: ids, blobs that are
// there, an adapter that can learn, floors of the manifest, parameters of secure aggregation.
// INVALID_ARGUMENT, NOT_FOUND (a blob), PERMISSION_DENIED (the manifest); the text names the field.
absl::StatusOr<v1::RunConfig> CompleteRunConfig(v1::RunConfig config, const v1::Manifest& manifest,
                                                BlobStore& blobs, absl::Time now);

RoundPolicy PolicyOf(const v1::RunConfig& config);
absl::Duration StageWait(const v1::RunConfig& config);

// The configuration of one session, but for its ids and signature. `clip_norm` is the round's: an
// adaptive one moves.
secagg::SessionConfig SessionTemplate(const v1::RunConfig& config, uint64_t delta_length,
                                      double clip_norm);

// The adapter in a blob. DATA_LOSS or INVALID_ARGUMENT if it holds none.
absl::StatusOr<engine::Adapter> ReadAdapterBlob(BlobStore& blobs, const Digest& digest);

// INVALID_ARGUMENT unless `bytes` has 32 bytes; `what` names the field.
absl::StatusOr<Digest> DigestFrom(std::string_view bytes, std::string_view what);
inline std::string_view AsText(const Digest& digest) {
  return {reinterpret_cast<const char*>(digest.data()), digest.size()};
}

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_RUN_PLAN_H_
