#ifndef CHOIR_COORDINATOR_BLOB_BLOB_STORE_H_
#define CHOIR_COORDINATOR_BLOB_BLOB_STORE_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/sha256.h"

namespace choir::coordinator {

struct BlobInfo {
  uint64_t stored_bytes = 0;
  bool complete = false;  // its hash was checked, and it can be read
};

struct BlobEntry {
  Digest digest{};
  BlobInfo info;
};

// Bytes named by their SHA-256: base models and adapters. A blob never changes, and nobody can read
// one whose bytes do not have its name. Thread-safe; errors of the disk as in base/file.h.
class BlobStore {
 public:
  virtual ~BlobStore() = default;

  // An unknown blob has 0 bytes and is not complete.
  virtual absl::StatusOr<BlobInfo> Stat(const Digest& digest) = 0;

  // Appends `data` at `offset` of a blob of `total_bytes`. The last piece completes it: then the
  // hash is checked, and what does not have it is thrown away. Pieces that are there already are
  // skipped, so an upload can be repeated. Only one upload of a blob at a time makes progress.
  //   OUT_OF_RANGE        `offset` is beyond what is stored: Stat() says where to go on
  //   INVALID_ARGUMENT    beyond `total_bytes`, or that is more than the limit
  //   DATA_LOSS           complete, but with another hash: start again from 0
  virtual absl::StatusOr<BlobInfo> Put(const Digest& digest, uint64_t total_bytes, uint64_t offset,
                                       std::span<const uint8_t> data) = 0;
  // A whole blob at once; fine if it is there.
  virtual absl::Status PutWhole(const Digest& digest, std::span<const uint8_t> data) = 0;

  // At most `max_bytes` from `offset` on; empty at the end. NOT_FOUND unless complete, OUT_OF_RANGE
  // beyond the end.
  virtual absl::StatusOr<std::string> Read(const Digest& digest, uint64_t offset,
                                           uint64_t max_bytes) = 0;

  // A file of this machine that holds the blob, to be mapped; it stays until the blob is removed.
  // NOT_FOUND unless complete.
  virtual absl::StatusOr<std::string> LocalFile(const Digest& digest) = 0;

  // All, complete or not, in no order. One that comes or goes meanwhile may be among them or not.
  virtual absl::StatusOr<std::vector<BlobEntry>> List() = 0;
  // With what an upload has brought of it. Fine if there is none; who reads it just now may read
  // on.
  virtual absl::Status Remove(const Digest& digest) = 0;
};

inline constexpr uint64_t kMaxBlobBytes = uint64_t{1} << 40;

// A folder: one file a blob, in 256 sub-folders by the first two digits of its name; unfinished
// ones end in ".partial". Made if it is not there.
absl::StatusOr<std::unique_ptr<BlobStore>> OpenDirectoryBlobStore(const std::string& path,
                                                                  uint64_t max_blob_bytes);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_BLOB_BLOB_STORE_H_
