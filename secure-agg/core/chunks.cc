#include "secure-agg/core/chunks.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "secure-agg/core/abort_reason.h"

namespace choir::secagg {

uint32_t NumChunks(uint64_t total_bytes, uint32_t chunk_bytes) {
  CHOIR_CHECK(chunk_bytes > 0);
  return static_cast<uint32_t>(total_bytes / chunk_bytes + (total_bytes % chunk_bytes != 0));
}

Digest ExtendRunningHash(const Digest& before, std::span<const uint8_t> chunk) {
  return Sha256().Update(before).Update(chunk).Finish();
}

Digest HashInput(std::span<const uint8_t> packed, uint32_t chunk_bytes) {
  Digest running{};
  for (size_t offset = 0; offset < packed.size(); offset += chunk_bytes) {
    running = ExtendRunningHash(
        running, packed.subspan(offset, std::min<size_t>(chunk_bytes, packed.size() - offset)));
  }
  return running;
}

ChunkStream::ChunkStream(const SessionId& session_id, NodeId node_id, std::vector<uint8_t> packed,
                         uint32_t chunk_bytes)
    : session_id_(session_id),
      node_id_(std::move(node_id)),
      packed_(std::move(packed)),
      chunk_bytes_(chunk_bytes) {
  CHOIR_CHECK(!packed_.empty());
  Digest running{};
  for (size_t offset = 0; offset < packed_.size(); offset += chunk_bytes_) {
    running = ExtendRunningHash(
        running, std::span(packed_).subspan(
                     offset, std::min<size_t>(chunk_bytes_, packed_.size() - offset)));
    running_.push_back(running);
  }
}

MaskedInputChunk ChunkStream::Chunk(uint32_t sequence) const {
  CHOIR_CHECK(sequence < num_chunks());
  const size_t begin = size_t{sequence} * chunk_bytes_;
  const size_t end = std::min(packed_.size(), begin + chunk_bytes_);
  MaskedInputChunk chunk{session_id_, node_id_, sequence, running_[sequence], {}};
  chunk.data.assign(packed_.begin() + static_cast<ptrdiff_t>(begin),
                    packed_.begin() + static_cast<ptrdiff_t>(end));
  return chunk;
}

ChunkAssembler::ChunkAssembler(MaskedInputHeader header) : header_(std::move(header)) {
  CHOIR_CHECK(header_.chunk_bytes > 0 && header_.total_bytes > 0);
}

absl::StatusOr<ChunkAssembler> ChunkAssembler::Resume(MaskedInputHeader header,
                                                      std::span<const uint8_t> spooled) {
  ChunkAssembler assembler(std::move(header));
  while (!assembler.complete()) {
    const uint64_t offset = assembler.next_offset();
    const uint64_t size = assembler.SizeOf(assembler.next());
    if (spooled.size() < offset || spooled.size() - offset < size) break;
    assembler.running_.push_back(
        ExtendRunningHash(assembler.last(), spooled.subspan(offset, size)));
  }
  if (assembler.complete() && assembler.running_.back() != assembler.header_.input_hash) {
    return Refusal(AbortReason::kChunkDamaged,
                   fmt::format("the {} spooled bytes have another hash than their header says",
                               spooled.size()));
  }
  return assembler;
}

uint64_t ChunkAssembler::next_offset() const {
  return std::min<uint64_t>(header_.total_bytes, uint64_t{next()} * header_.chunk_bytes);
}

bool ChunkAssembler::complete() const {
  return next_offset() == header_.total_bytes;
}

uint64_t ChunkAssembler::SizeOf(uint32_t sequence) const {
  const uint64_t begin = uint64_t{sequence} * header_.chunk_bytes;
  if (begin >= header_.total_bytes) return 0;
  return std::min<uint64_t>(header_.chunk_bytes, header_.total_bytes - begin);
}

absl::Status ChunkAssembler::CheckShape(const MaskedInputChunk& chunk) const {
  if (chunk.session_id != header_.session_id || chunk.node_id != header_.node_id) {
    return Refusal(AbortReason::kForeignSession, "the chunk belongs to another upload");
  }
  if (chunk.sequence > next() || (chunk.sequence == next() && complete())) {
    return Refusal(AbortReason::kChunkOutOfOrder,
                   fmt::format("chunk {} of {}; send chunk {} next", chunk.sequence,
                               NumChunks(header_.total_bytes, header_.chunk_bytes), next()));
  }
  if (chunk.data.size() != SizeOf(chunk.sequence)) {
    return Refusal(AbortReason::kChunkDamaged,
                   fmt::format("chunk {} has {} bytes, expected {}", chunk.sequence,
                               chunk.data.size(), SizeOf(chunk.sequence)));
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> ChunkAssembler::Accept(const MaskedInputChunk& chunk) {
  if (absl::Status shape = CheckShape(chunk); !shape.ok()) return shape;
  if (chunk.sequence < next()) {
    if (chunk.running_hash != running_[chunk.sequence]) {
      return Refusal(AbortReason::kSecondMaskedInput,
                     fmt::format("chunk {} differs from the one received before", chunk.sequence));
    }
    return false;
  }
  const Digest running = ExtendRunningHash(last(), chunk.data);
  const bool is_last = next_offset() + chunk.data.size() == header_.total_bytes;
  if (running != chunk.running_hash || (is_last && running != header_.input_hash)) {
    return Refusal(
        AbortReason::kChunkDamaged,
        fmt::format("chunk {} does not fit its running hash; send it again", chunk.sequence));
  }
  running_.push_back(running);
  return true;
}

}  // namespace choir::secagg
