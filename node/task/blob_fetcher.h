#ifndef CHOIR_NODE_TASK_BLOB_FETCHER_H_
#define CHOIR_NODE_TASK_BLOB_FETCHER_H_

// Downloads a blob by its hash, resuming where an earlier try stopped.

#include <cstdint>
#include <string>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"

#include "base/sha256.h"
#include "node/task/coordinator_client.h"

namespace choir::node {

// Afterwards `path` holds exactly the blob. A partial download stays beside it, named by the blob
// too (".<hash>.partial"), and goes on from its end; those of other blobs for the same path, and
// any in the folder that nobody has gone on with for two weeks, are removed. `progress(done,
// total)` after each chunk. DATA_LOSS: the whole has another hash (the partial file is removed);
// RESOURCE_EXHAUSTED: more bytes than `size_bytes`, or no space; else the call's error, after which
// another try resumes.
absl::Status FetchBlobToFile(CoordinatorClient& client, const Digest& digest, uint64_t size_bytes,
                             const std::string& path,
                             absl::FunctionRef<void(uint64_t, uint64_t)> progress);

}  // namespace choir::node

#endif  // CHOIR_NODE_TASK_BLOB_FETCHER_H_
