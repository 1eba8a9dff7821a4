#ifndef CHOIR_COORDINATOR_SERVICE_UPLOAD_H_
#define CHOIR_COORDINATOR_SERVICE_UPLOAD_H_

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"

#include "secure-agg/core/chunks.h"
#include "secure-agg/core/messages.h"

namespace choir::coordinator {

// One node's masked input on its way in: a file of the signed header and then the chunks, each
// fsynced before it is acknowledged. Thread-safe, so that chunks of many nodes are written at once.
class Upload {
 public:
  // `header` must have passed ServerSession::CheckInputHeader(); `bytes` are its encoding.
  static absl::StatusOr<std::shared_ptr<Upload>> Begin(const std::string& path,
                                                       const secagg::MaskedInputHeader& header,
                                                       std::span<const uint8_t> bytes,
                                                       absl::Time now);
  // From the file, after a restart; a chunk that was cut off is dropped. DATA_LOSS.
  static absl::StatusOr<std::shared_ptr<Upload>> Resume(const std::string& path, absl::Time now);
  ~Upload();
  Upload(const Upload&) = delete;
  Upload& operator=(const Upload&) = delete;

  // OK for a repeated chunk, too. The errors of ChunkAssembler::Accept, or of the disk.
  absl::Status Append(const secagg::MaskedInputChunk& chunk, absl::Time now);
  [[nodiscard]] uint32_t next_chunk() const;
  [[nodiscard]] bool complete() const;
  [[nodiscard]] absl::Time last_progress() const;
  [[nodiscard]] const std::vector<uint8_t>& header() const { return header_; }
  [[nodiscard]] const secagg::NodeId& node() const { return node_; }
  // The whole packed y, once it is complete.
  [[nodiscard]] absl::StatusOr<std::vector<uint8_t>> Read() const;

 private:
  Upload(std::string path, int fd, std::vector<uint8_t> header, secagg::ChunkAssembler assembler,
         absl::Time now);
  [[nodiscard]] uint64_t DataOffset() const { return sizeof(uint32_t) + header_.size(); }

  const std::string path_;
  const int fd_;
  const std::vector<uint8_t> header_;
  const secagg::NodeId node_;
  mutable absl::Mutex mu_;
  secagg::ChunkAssembler assembler_ ABSL_GUARDED_BY(mu_);
  absl::Time last_progress_ ABSL_GUARDED_BY(mu_);
};

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_UPLOAD_H_
