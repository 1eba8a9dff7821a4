#include "secure-agg/core/result_chain.h"

#include <limits>
#include <optional>

#include <gtest/gtest.h>

#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/adapter_check.h"

namespace choir::secagg {
namespace {

class ResultChainTest : public ::testing::Test {
 protected:
  RoundResult Next(const std::optional<ChainHead>& head, uint64_t round) {
    RoundResult result;
    result.federation_id = "federation";
    result.run_id = "run";
    result.round = round;
    EXPECT_TRUE(SignResult(head, key_, result).ok());
    return result;
  }
  Ed25519Signer key_{SecretBytes<32>()};
};

TEST_F(ResultChainTest, EntriesFollowOneAnother) {
  std::optional<ChainHead> head;
  for (uint64_t round = 0; round < 4; ++round) {
    head = FollowChain(head, key_.public_key(), Next(head, round)).value();
    EXPECT_EQ(head->sequence, round);
  }
}

TEST_F(ResultChainTest, LateJoinerTakesTheFirstSignedEntry) {
  const ChainHead middle{41, Sha256Of("earlier")};
  EXPECT_EQ(FollowChain(std::nullopt, key_.public_key(), Next(middle, 3)).value().sequence, 42u);
}

TEST_F(ResultChainTest, GapForkAndRewrittenPastAreRefused) {
  const ChainHead first = FollowChain(std::nullopt, key_.public_key(), Next({}, 0)).value();
  const ChainHead second = FollowChain(first, key_.public_key(), Next(first, 1)).value();
  EXPECT_EQ(ReasonOf(FollowChain(first, key_.public_key(), Next(second, 2)).status()),
            AbortReason::kChainBroken);
  EXPECT_EQ(ReasonOf(FollowChain(second, key_.public_key(), Next(first, 9)).status()),
            AbortReason::kChainBroken);
  const ChainHead fork{1, Sha256Of("another past")};
  EXPECT_EQ(ReasonOf(FollowChain(second, key_.public_key(), Next(fork, 2)).status()),
            AbortReason::kChainBroken);
}

TEST_F(ResultChainTest, ChangedEntryIsRefused) {
  RoundResult result = Next({}, 0);
  result.adapter_hash[0] ^= 1;
  EXPECT_EQ(ReasonOf(FollowChain(std::nullopt, key_.public_key(), result).status()),
            AbortReason::kBadResultSignature);
}

TEST(AdapterCheckTest, ZeroModuleAndNonFiniteValuesAreRefused) {
  const std::vector<float> zero(4, 0.0F);
  const std::vector<float> some = {0, 0, 0, 1};
  std::vector<float> bad = some;
  bad[1] = std::numeric_limits<float>::quiet_NaN();
  const std::vector<LoraFactors> fresh = {{some, zero}, {zero, some}};
  EXPECT_TRUE(CheckAdapter(fresh).ok());
  const std::vector<LoraFactors> suppressed = {{some, zero}, {zero, zero}};
  EXPECT_EQ(ReasonOf(CheckAdapter(suppressed)), AbortReason::kZeroAdapter);
  const std::vector<LoraFactors> nan = {{bad, zero}};
  EXPECT_EQ(ReasonOf(CheckAdapter(nan)), AbortReason::kNonFiniteAdapter);
}

}  // namespace
}  // namespace choir::secagg
