#include "engine/train/packer.h"

#include <algorithm>
#include <map>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"

namespace choir::engine {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// `size` tokens that name their document and place, all predicted.
Document MakeDocument(int32_t name, size_t size) {
  Document document;
  for (size_t i = 0; i < size; ++i) {
    document.tokens.push_back(name * 1000 + static_cast<int32_t>(i));
    document.in_loss.push_back(i == 0 ? 0 : 1);
  }
  return document;
}

std::vector<Document> MakeDocuments(size_t count, size_t longest) {
  SeededRng rng(11);
  std::vector<Document> documents;
  for (size_t i = 0; i < count; ++i) {
    documents.push_back(MakeDocument(static_cast<int32_t>(i), 2 + rng.NextBelow(longest - 1)));
  }
  return documents;
}

Packer MakePacker(std::vector<Document> documents, const PackerOptions& options,
                  uint64_t seed = 1) {
  absl::StatusOr<Packer> packer = Packer::Create(std::move(documents), options, seed);
  EXPECT_TRUE(packer.ok()) << packer.status().ToString();
  return std::move(packer).value();
}

std::vector<MicroBatch> NextEpoch(Packer& packer) {
  std::vector<MicroBatch> out;
  do {
    EXPECT_TRUE(packer.Next(out.emplace_back()).ok());
  } while (!out.back().last_of_epoch);
  return out;
}

TEST(PackerTest, DocumentsShareAMicroBatchAsSegments) {
  Packer packer = MakePacker({MakeDocument(1, 4), MakeDocument(2, 3)},
                             {.tokens_per_micro_batch = 8, .shuffle = false});
  MicroBatch batch;
  ASSERT_TRUE(packer.Next(batch).ok());
  EXPECT_THAT(batch.token_ids, ElementsAre(1000, 1001, 1002, 2000, 2001, 0, 0, 0));
  EXPECT_THAT(batch.positions, ElementsAre(0, 1, 2, 0, 1, 0, 0, 0));
  EXPECT_THAT(batch.segment_ids, ElementsAre(0, 0, 0, 1, 1, -1, -1, -1));
  EXPECT_THAT(batch.targets, ElementsAre(1001, 1002, 1003, 2001, 2002, 0, 0, 0));
  EXPECT_THAT(batch.loss_weights, ElementsAre(1, 1, 1, 1, 1, 0, 0, 0));
  EXPECT_EQ(batch.real_tokens, 5);
  EXPECT_EQ(batch.total_loss_weight, 5.0);
  EXPECT_TRUE(batch.last_of_epoch);
}

TEST(PackerTest, LongDocumentIsSplitAndEveryTargetStays) {
  Packer packer = MakePacker({MakeDocument(1, 8)}, {.tokens_per_micro_batch = 3, .shuffle = false});
  const std::vector<MicroBatch> epoch = NextEpoch(packer);
  ASSERT_EQ(epoch.size(), 3u);
  EXPECT_THAT(epoch[1].token_ids, ElementsAre(1003, 1004, 1005));
  EXPECT_THAT(epoch[1].targets, ElementsAre(1004, 1005, 1006));
  EXPECT_THAT(epoch[1].positions, ElementsAre(0, 1, 2));
  EXPECT_EQ(epoch[2].real_tokens, 1);
}

TEST(PackerTest, PiecesWithNothingToPredictAreLeftOut) {
  Document document = MakeDocument(1, 8);
  for (size_t i = 0; i < 7; ++i) document.in_loss[i] = 0;  // a long prompt
  Packer packer = MakePacker({document}, {.tokens_per_micro_batch = 3, .shuffle = false});
  EXPECT_EQ(packer.MicroBatchesInEpoch(), 1u);
  EXPECT_EQ(packer.TokensPerEpoch(), 1u);
  MicroBatch batch;
  ASSERT_TRUE(packer.Next(batch).ok());
  EXPECT_EQ(batch.targets[0], 1007);
  EXPECT_EQ(batch.total_loss_weight, 1.0);
}

// Every target of every document exactly once an epoch, whatever the packing.
TEST(PackerTest, EveryTargetComesOnceAnEpoch) {
  for (const bool pack : {false, true}) {
    for (const int64_t window : {1, 4, 1000}) {
      Packer packer = MakePacker(MakeDocuments(200, 60),
                                 {.tokens_per_micro_batch = 32, .window = window, .pack = pack});
      for (uint64_t epoch = 0; epoch < 2; ++epoch) {
        std::map<int32_t, int> seen;
        uint64_t tokens = 0;
        for (const MicroBatch& batch : NextEpoch(packer)) {
          EXPECT_EQ(batch.epoch, epoch);
          tokens += static_cast<uint64_t>(batch.real_tokens);
          for (size_t i = 0; i < static_cast<size_t>(batch.real_tokens); ++i) {
            ASSERT_EQ(batch.targets[i], batch.token_ids[i] + 1);
            ++seen[batch.targets[i]];
          }
        }
        EXPECT_EQ(tokens, packer.TokensPerEpoch());
        EXPECT_EQ(seen.size(), packer.TokensPerEpoch());
        EXPECT_TRUE(std::all_of(seen.begin(), seen.end(), [](auto& s) { return s.second == 1; }));
      }
    }
  }
}

// Also where the documents make one window and a little more.
TEST(PackerTest, PackingLeavesLittlePadding) {
  for (const size_t documents : {500, 1030, 3000}) {
    Packer packer = MakePacker(MakeDocuments(documents, 100), {.tokens_per_micro_batch = 128});
    const double places = 128.0 * static_cast<double>(packer.MicroBatchesInEpoch());
    EXPECT_GT(static_cast<double>(packer.TokensPerEpoch()) / places, 0.98) << documents;
  }
}

// Packing puts long documents first; the epoch must not.
TEST(PackerTest, LongDocumentsComeAnyTime) {
  Packer packer = MakePacker(MakeDocuments(1000, 100), {.tokens_per_micro_batch = 128});
  const std::vector<MicroBatch> epoch = NextEpoch(packer);
  const auto segments = [&](size_t begin, size_t end) {
    int64_t sum = 0;
    for (size_t i = begin; i < end; ++i) {
      sum += *std::max_element(epoch[i].segment_ids.begin(), epoch[i].segment_ids.end()) + 1;
    }
    return sum;
  };
  const size_t half = epoch.size() / 2;
  EXPECT_NEAR(static_cast<double>(segments(0, half)), static_cast<double>(segments(half, 2 * half)),
              100);
}

TEST(PackerTest, InStrictOrderNothingMovesForward) {
  Packer packer = MakePacker({MakeDocument(1, 7), MakeDocument(2, 7), MakeDocument(3, 3)},
                             {.tokens_per_micro_batch = 8, .shuffle = false, .window = 1});
  const std::vector<MicroBatch> epoch = NextEpoch(packer);
  ASSERT_EQ(epoch.size(), 2u);
  EXPECT_EQ(epoch[0].real_tokens, 6);
  EXPECT_EQ(epoch[1].real_tokens, 8);
}

TEST(PackerTest, ShuffleDependsOnSeedAndEpochOnly) {
  const PackerOptions options = {.tokens_per_micro_batch = 64};
  Packer one = MakePacker(MakeDocuments(50, 40), options, 7);
  Packer same = MakePacker(MakeDocuments(50, 40), options, 7);
  Packer other = MakePacker(MakeDocuments(50, 40), options, 8);
  const std::vector<MicroBatch> first = NextEpoch(one);
  EXPECT_EQ(first[0].token_ids, NextEpoch(same)[0].token_ids);
  EXPECT_NE(first[0].token_ids, NextEpoch(other)[0].token_ids);
  EXPECT_NE(first[0].token_ids, NextEpoch(one)[0].token_ids);
}

TEST(PackerTest, AResumedPackerGoesOnExactly) {
  const PackerOptions options = {.tokens_per_micro_batch = 64};
  Packer whole = MakePacker(MakeDocuments(50, 40), options, 7);
  MicroBatch batch;
  for (uint64_t i = 0; i < whole.MicroBatchesInEpoch() + 5; ++i)
    ASSERT_TRUE(whole.Next(batch).ok());
  const absl::StatusOr<PackerState> state = PackerState::Parse(whole.state().Serialize());
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(*state, whole.state());
  Packer resumed = MakePacker(MakeDocuments(50, 40), options, 99);
  ASSERT_TRUE(resumed.Restore(*state).ok());
  MicroBatch again;
  for (int i = 0; i < 40; ++i) {
    ASSERT_TRUE(whole.Next(batch).ok());
    ASSERT_TRUE(resumed.Next(again).ok());
    ASSERT_EQ(batch.token_ids, again.token_ids);
    ASSERT_EQ(batch.epoch, again.epoch);
  }
}

TEST(PackerTest, RestoreAtTheEndOfAnEpochBeginsTheNext) {
  Packer packer = MakePacker(MakeDocuments(5, 10), {.tokens_per_micro_batch = 16});
  NextEpoch(packer);
  const PackerState state = packer.state();
  Packer resumed = MakePacker(MakeDocuments(5, 10), {.tokens_per_micro_batch = 16});
  ASSERT_TRUE(resumed.Restore(state).ok());
  MicroBatch batch;
  ASSERT_TRUE(resumed.Next(batch).ok());
  EXPECT_EQ(batch.epoch, 1u);
}

TEST(PackerTest, RestoreBeyondTheEpochIsInvalid) {
  Packer packer = MakePacker(MakeDocuments(5, 10), {.tokens_per_micro_batch = 16});
  EXPECT_THAT(packer.Restore({1, 0, 1000}).ToString(), HasSubstr("changed"));
  EXPECT_EQ(packer.state().position, 0u);
}

TEST(PackerTest, BadInputsAreInvalid) {
  const auto code = [](std::vector<Document> documents, const PackerOptions& options) {
    return Packer::Create(std::move(documents), options, 1).status().code();
  };
  const PackerOptions options = {.tokens_per_micro_batch = 4};
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(code({}, options), kInvalid);
  EXPECT_EQ(code({MakeDocument(1, 1)}, options), kInvalid);
  EXPECT_EQ(code({{{1, 2}, {0}}}, options), kInvalid);
  EXPECT_EQ(code({{{1, 2}, {1, 0}}}, options), kInvalid);
  EXPECT_EQ(code({MakeDocument(1, 3)}, {.tokens_per_micro_batch = 0}), kInvalid);
  EXPECT_EQ(code({MakeDocument(1, 3)}, {.tokens_per_micro_batch = int64_t{1} << 40}), kInvalid);
  EXPECT_EQ(code({MakeDocument(1, 3)}, {.tokens_per_micro_batch = 4, .window = 0}), kInvalid);
  EXPECT_EQ(code({MakeDocument(1, 6)}, {.tokens_per_micro_batch = 4, .split_long = false}),
            kInvalid);
  EXPECT_EQ(code({MakeDocument(1, 5)}, {.tokens_per_micro_batch = 4, .split_long = false}),
            absl::StatusCode::kOk);
}

TEST(PackerStateTest, OtherTextIsDataLoss) {
  for (const std::string text :
       {"", "choir-packer 3", "choir-packer 3 2 3", "choir-packer 3 2 3 4 5",
        "choir-packer 2 1 2 3", "choir-packer 3 -1 2 3",
        "choir-packer 3 1 2 99999999999999999999999"}) {
    EXPECT_EQ(PackerState::Parse(text).status().code(), absl::StatusCode::kDataLoss) << text;
  }
}

}  // namespace
}  // namespace choir::engine
