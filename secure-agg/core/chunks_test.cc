#include "secure-agg/core/chunks.h"

#include <vector>

#include <gtest/gtest.h>

#include "secure-agg/core/abort_reason.h"

namespace choir::secagg {
namespace {

constexpr uint32_t kChunk = 10;

std::vector<uint8_t> Data(size_t size) {
  std::vector<uint8_t> data(size);
  for (size_t i = 0; i < size; ++i) data[i] = static_cast<uint8_t>(i * 7);
  return data;
}

ChunkStream Stream(size_t size) {
  return {SessionId{1}, "node", Data(size), kChunk};
}

MaskedInputHeader HeaderOf(const ChunkStream& stream) {
  return {SessionId{1}, "node", stream.total_bytes(), kChunk, stream.input_hash(), {}};
}

TEST(ChunksTest, AllSizesComeBackWhole) {
  for (const size_t size : {1u, 9u, 10u, 11u, 20u, 35u}) {
    const ChunkStream stream = Stream(size);
    EXPECT_EQ(stream.num_chunks(), NumChunks(size, kChunk));
    EXPECT_EQ(stream.input_hash(), HashInput(Data(size), kChunk));
    ChunkAssembler assembler(HeaderOf(stream));
    std::vector<uint8_t> spool;
    for (uint32_t i = 0; i < stream.num_chunks(); ++i) {
      EXPECT_FALSE(assembler.complete());
      EXPECT_EQ(assembler.next_offset(), spool.size());
      const MaskedInputChunk chunk = stream.Chunk(i);
      ASSERT_TRUE(assembler.Accept(chunk).value());
      spool.insert(spool.end(), chunk.data.begin(), chunk.data.end());
    }
    EXPECT_TRUE(assembler.complete());
    EXPECT_EQ(spool, Data(size));
  }
}

TEST(ChunksTest, RepeatIsKnownAndOtherBytesAreRefused) {
  const ChunkStream stream = Stream(25);
  ChunkAssembler assembler(HeaderOf(stream));
  ASSERT_TRUE(assembler.Accept(stream.Chunk(0)).value());
  EXPECT_FALSE(assembler.Accept(stream.Chunk(0)).value());
  MaskedInputChunk other = stream.Chunk(0);
  other.running_hash[0] ^= 1;
  EXPECT_EQ(ReasonOf(assembler.Accept(other).status()), AbortReason::kSecondMaskedInput);
}

TEST(ChunksTest, GapsAndChunksBeyondTheEndAreRefused) {
  const ChunkStream stream = Stream(25);
  ChunkAssembler assembler(HeaderOf(stream));
  EXPECT_EQ(ReasonOf(assembler.Accept(stream.Chunk(1)).status()), AbortReason::kChunkOutOfOrder);
  for (uint32_t i = 0; i < 3; ++i) ASSERT_TRUE(assembler.Accept(stream.Chunk(i)).ok());
  MaskedInputChunk beyond = stream.Chunk(2);
  beyond.sequence = 3;
  EXPECT_EQ(ReasonOf(assembler.Accept(beyond).status()), AbortReason::kChunkOutOfOrder);
}

TEST(ChunksTest, DamagedChunkIsRefusedAndMayBeSentAgain) {
  const ChunkStream stream = Stream(25);
  ChunkAssembler assembler(HeaderOf(stream));
  MaskedInputChunk damaged = stream.Chunk(0);
  damaged.data[3] ^= 1;
  EXPECT_EQ(ReasonOf(assembler.Accept(damaged).status()), AbortReason::kChunkDamaged);
  damaged.data.pop_back();
  EXPECT_EQ(ReasonOf(assembler.Accept(damaged).status()), AbortReason::kChunkDamaged);
  EXPECT_TRUE(assembler.Accept(stream.Chunk(0)).value());
}

// Each chunk continues the one before, but the last does not end in the hash that was signed.
TEST(ChunksTest, OtherInputThanTheHeaderAnnouncedIsRefused) {
  const ChunkStream stream = Stream(15);
  MaskedInputHeader header = HeaderOf(stream);
  header.input_hash[0] ^= 1;
  ChunkAssembler assembler(header);
  ASSERT_TRUE(assembler.Accept(stream.Chunk(0)).ok());
  EXPECT_EQ(ReasonOf(assembler.Accept(stream.Chunk(1)).status()), AbortReason::kChunkDamaged);
}

TEST(ChunksTest, ForeignChunkIsRefused) {
  const ChunkStream stream = Stream(15);
  ChunkAssembler assembler(HeaderOf(stream));
  MaskedInputChunk foreign = stream.Chunk(0);
  foreign.node_id = "another";
  EXPECT_EQ(ReasonOf(assembler.Accept(foreign).status()), AbortReason::kForeignSession);
}

TEST(ChunksTest, ResumesAtTheLastWholeChunk) {
  const ChunkStream stream = Stream(25);
  const std::vector<uint8_t> data = Data(25);
  for (size_t spooled = 0; spooled <= 25; ++spooled) {
    ChunkAssembler assembler =
        ChunkAssembler::Resume(HeaderOf(stream), std::span(data).first(spooled)).value();
    EXPECT_EQ(assembler.next(), spooled == 25 ? 3 : spooled / kChunk);
    for (uint32_t i = assembler.next(); i < 3; ++i) {
      ASSERT_TRUE(assembler.Accept(stream.Chunk(i)).value());
    }
    EXPECT_TRUE(assembler.complete());
  }
}

TEST(ChunksTest, DamagedSpoolIsFoundOut) {
  const ChunkStream stream = Stream(25);
  std::vector<uint8_t> data = Data(25);
  data[4] ^= 1;
  EXPECT_EQ(ReasonOf(ChunkAssembler::Resume(HeaderOf(stream), data).status()),
            AbortReason::kChunkDamaged);
}

}  // namespace
}  // namespace choir::secagg
