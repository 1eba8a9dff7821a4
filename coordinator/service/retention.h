#ifndef CHOIR_COORDINATOR_SERVICE_RETENTION_H_
#define CHOIR_COORDINATOR_SERVICE_RETENTION_H_

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

#include "base/sha256.h"
#include "choir/v1/federation.pb.h"
#include "choir/v1/run.pb.h"
#include "coordinator/blob/blob_store.h"
#include "coordinator/store/store.h"

// What a coordinator keeps of its blobs and spools, and how the rest goes.
//
// A blob is kept as long as something names it. One that nothing names is noted in the store with
// the time, and deleted once that is long ago: uploads come before the run that names them. A kill
// at any point leaves blobs that the next sweep finds again, never a name without its blob.
namespace choir::coordinator {

struct RetentionPolicy {
  uint32_t keep_versions = 20;  // adapters of each run, the newest; 0: all
  absl::Duration unused_for = absl::Hours(7 * 24);
};

// The blobs that something names, read from the store little by little: what was read once is not
// read again, for a version never changes.
class BlobsInUse {
 public:
  // Reads what is new. An error means that nothing may be deleted.
  absl::Status Update(Store& store);
  // The manifest's base models; every run's base model, first adapter and held-out texts; of its
  // versions the newest `keep_versions` and the best that a gate has seen, each with its basis; the
  // newest one's optimizer state.
  [[nodiscard]] std::set<Digest> All(const v1::Manifest& manifest, uint32_t keep_versions) const;

 private:
  struct Version {
    std::vector<Digest> blobs;
    std::optional<Digest> server_state;
    std::optional<double> held_out_nll;
  };
  struct Run {
    std::vector<Digest> of_config;
    std::vector<Version> versions;  // from 0 on, without a gap
  };
  static absl::Status ReadVersions(Store& store, const std::string& run_id, Run& run);
  std::map<std::string, Run> runs_;
};

// NOT_FOUND, and which, unless all blobs that the configuration names are there.
absl::Status CheckRunBlobs(const v1::RunConfig& config, BlobStore& blobs);

struct SweptBlobs {
  uint64_t blobs = 0;
  uint64_t bytes = 0;
};

// Deletes those of `found` that are not in `kept` and were found so, with the same size, by a sweep
// at least `unused_for` before `now`. Nothing may come to name a blob meanwhile.
absl::StatusOr<SweptBlobs> SweepBlobs(Store& store, BlobStore& blobs,
                                      const std::vector<BlobEntry>& found,
                                      const std::set<Digest>& kept, absl::Duration unused_for,
                                      absl::Time now);

// Removes all of the spool but the rounds that are going on (run id -> round). What cannot be
// removed stays until the next time.
void SweepSpool(const std::string& spool, const std::map<std::string, uint64_t>& rounds);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_RETENTION_H_
