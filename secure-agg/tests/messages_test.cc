#include "secure-agg/core/messages.h"

#include <set>
#include <vector>

#include <gtest/gtest.h>

#include "base/random.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/tests/sample_messages.h"

namespace choir::secagg {
namespace {

// Whether some decoder takes the bytes.
bool AnyDecodes(std::span<const uint8_t> bytes) {
  return DecodeSessionConfig(bytes).ok() || DecodeAdvertiseKeys(bytes).ok() ||
         DecodeKeyList(bytes).ok() || DecodeShareKeys(bytes).ok() ||
         DecodeShareDelivery(bytes).ok() || DecodeMaskedInputHeader(bytes).ok() ||
         DecodeMaskedInputChunk(bytes).ok() || DecodeSurvivorList(bytes).ok() ||
         DecodeConsistencySignature(bytes).ok() || DecodeSurvivorSignatures(bytes).ok() ||
         DecodeUnmaskShares(bytes).ok() || DecodeRoundResult(bytes).ok() ||
         DecodeNeighbourList(bytes).ok() || DecodeNeighbourDelivery(bytes).ok() ||
         DecodeNeighbourSurvivors(bytes).ok();
}

TEST(MessagesTest, EveryKindDecodesAndEncodesToTheSameBytes) {
  std::set<uint8_t> kinds;
  for (const SampleMessage& sample : SampleMessages()) {
    EXPECT_TRUE(AnyDecodes(sample.bytes)) << sample.name;
    EXPECT_TRUE(DecodeIsExact(sample.bytes)) << sample.name;
    kinds.insert(sample.bytes[0]);
  }
  EXPECT_EQ(kinds.size(), 15u);
}

TEST(MessagesTest, CutOffAndTrailingBytesAreRefused) {
  for (const SampleMessage& sample : SampleMessages()) {
    for (size_t size = 0; size < sample.bytes.size(); ++size) {
      EXPECT_FALSE(AnyDecodes(std::span(sample.bytes).first(size))) << sample.name << " " << size;
    }
    std::vector<uint8_t> longer = sample.bytes;
    longer.push_back(0);
    EXPECT_FALSE(AnyDecodes(longer)) << sample.name;
  }
}

TEST(MessagesTest, AnotherVersionIsRefusedAndSaidSo) {
  std::vector<uint8_t> bytes = Encode(SurvivorList{{}, {}, {}});
  bytes[1] = 2;
  const absl::Status status = DecodeSurvivorList(bytes).status();
  EXPECT_EQ(ReasonOf(status), AbortReason::kMalformedMessage);
  EXPECT_NE(status.ToString().find("version 2"), std::string::npos);
}

// A count of 2^32 - 1 in front of nothing: refused before anything is allocated.
TEST(MessagesTest, LyingCountsAreRefused) {
  std::vector<uint8_t> bytes = Encode(SurvivorList{{}, {}, {}});
  for (size_t i = 18; i < 22; ++i) bytes[i] = 0xff;
  EXPECT_FALSE(DecodeSurvivorList(bytes).ok());
  std::vector<uint8_t> chunk = Encode(MaskedInputChunk{{}, "n", 0, {}, {1}});
  chunk[chunk.size() - 2] = 0x7f;  // the data's length
  EXPECT_FALSE(DecodeMaskedInputChunk(chunk).ok());
}

TEST(MessagesTest, EmptyAndOverlongIdsAreRefused) {
  AdvertiseKeys message;
  EXPECT_FALSE(DecodeAdvertiseKeys(Encode(message)).ok());
  message.node_id = std::string(kMaxIdBytes + 1, 'x');
  EXPECT_FALSE(DecodeAdvertiseKeys(Encode(message)).ok());
  message.node_id.pop_back();
  EXPECT_TRUE(DecodeAdvertiseKeys(Encode(message)).ok());
}

TEST(MessagesTest, ManyMutationsNeverBreakADecoder) {
  const std::vector<SampleMessage> samples = SampleMessages();
  for (uint64_t seed = 0; seed < 100'000; ++seed) {
    SeededRng rng(seed);
    std::vector<uint8_t> bytes = samples[seed % samples.size()].bytes;
    const uint64_t changes = 1 + rng.NextBelow(4);
    for (uint64_t i = 0; i < changes; ++i) {
      const uint64_t at = rng.NextBelow(bytes.size());
      switch (rng.NextBelow(4)) {
        case 0:
          bytes[at] = static_cast<uint8_t>(rng.NextU64());
          break;
        case 1:
          bytes[at] = rng.NextBelow(2) == 0 ? 0 : 0xff;
          break;
        case 2:
          bytes.resize(at + 1);
          break;
        default:
          bytes.insert(bytes.begin() + static_cast<ptrdiff_t>(at), static_cast<uint8_t>(at));
      }
    }
    ASSERT_TRUE(DecodeIsExact(bytes)) << "seed " << seed;
  }
}

TEST(AbortReasonTest, NumbersAndNamesAreDistinctAndComeBack) {
  std::set<std::string_view> names;
  int count = 0;
  for (int number = 0; number < 256; ++number) {
    const auto reason = AbortReasonFromNumber(static_cast<uint8_t>(number));
    if (!reason.has_value()) continue;
    ++count;
    names.insert(AbortReasonName(*reason));
    EXPECT_EQ(AbortReasonFromName(AbortReasonName(*reason)), reason);
    EXPECT_FALSE(AbortReasonText(*reason).empty());
    EXPECT_EQ(ReasonOf(Refusal(*reason, "detail")), reason);
  }
  EXPECT_EQ(static_cast<int>(names.size()), count);
  EXPECT_GE(count, 25);
  EXPECT_EQ(ReasonOf(absl::InternalError("elsewhere")), std::nullopt);
}

}  // namespace
}  // namespace choir::secagg
