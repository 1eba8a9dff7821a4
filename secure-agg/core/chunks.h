#ifndef CHOIR_SECURE_AGG_CORE_CHUNKS_H_
#define CHOIR_SECURE_AGG_CORE_CHUNKS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/sha256.h"
#include "secure-agg/core/messages.h"

namespace choir::secagg {

// The running hash after a chunk: SHA-256(running hash before || chunk), from 32 zero bytes on. The
// last one is H(y): a receiver needs no more state than 32 bytes to go on after a restart.
Digest ExtendRunningHash(const Digest& before, std::span<const uint8_t> chunk);
Digest HashInput(std::span<const uint8_t> packed, uint32_t chunk_bytes);

uint32_t NumChunks(uint64_t total_bytes, uint32_t chunk_bytes);

// Sender's side: cuts a packed y into chunks. Any chunk may be made at any time, in any order.
class ChunkStream {
 public:
  ChunkStream(const SessionId& session_id, NodeId node_id, std::vector<uint8_t> packed,
              uint32_t chunk_bytes);

  [[nodiscard]] uint32_t num_chunks() const { return static_cast<uint32_t>(running_.size()); }
  [[nodiscard]] uint64_t total_bytes() const { return packed_.size(); }
  [[nodiscard]] uint32_t chunk_bytes() const { return chunk_bytes_; }
  [[nodiscard]] const Digest& input_hash() const { return running_.back(); }
  // `sequence` < num_chunks().
  [[nodiscard]] MaskedInputChunk Chunk(uint32_t sequence) const;

 private:
  SessionId session_id_;
  NodeId node_id_;
  std::vector<uint8_t> packed_;
  uint32_t chunk_bytes_;
  std::vector<Digest> running_;
};

// Receiver's side: checks that chunks continue one another. Keeps hashes, never data: the caller
// appends what Accept() lets through to the node's spool, fsyncs, and then acknowledges next().
class ChunkAssembler {
 public:
  // The header must have passed ServerSession::CheckInputHeader().
  explicit ChunkAssembler(MaskedInputHeader header);
  // After a restart. Takes the whole chunks at the front of `spooled`; the caller cuts the spool to
  // next_offset() bytes. DATA_LOSS (kChunkDamaged) if the spool is complete and its hash is wrong.
  static absl::StatusOr<ChunkAssembler> Resume(MaskedInputHeader header,
                                               std::span<const uint8_t> spooled);

  // True: new, append chunk.data to the spool at next_offset() as it was before. False: a repeated
  // chunk, acknowledge it and write nothing. kChunkOutOfOrder, kChunkDamaged, kSecondMaskedInput.
  absl::StatusOr<bool> Accept(const MaskedInputChunk& chunk);

  [[nodiscard]] uint32_t next() const { return static_cast<uint32_t>(running_.size()); }
  [[nodiscard]] uint64_t next_offset() const;
  [[nodiscard]] bool complete() const;
  [[nodiscard]] const MaskedInputHeader& header() const { return header_; }

 private:
  absl::Status CheckShape(const MaskedInputChunk& chunk) const;
  [[nodiscard]] uint64_t SizeOf(uint32_t sequence) const;
  [[nodiscard]] Digest last() const { return running_.empty() ? Digest{} : running_.back(); }

  MaskedInputHeader header_;
  std::vector<Digest> running_;
};

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_CHUNKS_H_
