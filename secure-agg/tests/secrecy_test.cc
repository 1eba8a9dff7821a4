#include <array>
#include <set>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "secure-agg/core/masking.h"
#include "secure-agg/tests/cohort.h"

// What a coordinator can see of one node: noise.
namespace choir::secagg {
namespace {

// The packed y of node i, as it is uploaded.
std::vector<uint8_t> MaskedInput(const Play& play, size_t i) {
  std::vector<uint8_t> y;
  for (uint32_t k = 0; k < play.clients[i]->num_chunks(); ++k) {
    const auto chunk = DecodeMaskedInputChunk(play.clients[i]->Chunk(k).value()).value();
    y.insert(y.end(), chunk.data.begin(), chunk.data.end());
  }
  return y;
}

// Chi-square of the byte counts against uniform: 255 degrees of freedom, mean 255, standard
// deviation 22.6. Above 400 has a chance of about 10^-8; below 150, of about 10^-8, too.
double ChiSquare(std::span<const uint8_t> bytes) {
  std::array<double, 256> counts{};
  for (const uint8_t byte : bytes) counts[byte] += 1;
  const double expected = static_cast<double>(bytes.size()) / 256;
  double sum = 0;
  for (const double count : counts) sum += (count - expected) * (count - expected) / expected;
  return sum;
}

void ExpectUniform(std::span<const uint8_t> bytes) {
  EXPECT_LT(ChiSquare(bytes), 400);
  EXPECT_GT(ChiSquare(bytes), 150);
}

// All nodes contribute zeros.
TestCohort Silence(SessionConfig config, uint32_t n = 3) {
  TestCohort cohort(n, std::move(config), 61);
  for (TestNode& node : cohort.nodes) {
    std::ranges::fill(node.delta, 0.0F);
    node.extras.assign(2, 0.0);
  }
  return cohort;
}

TEST(SecrecyTest, MaskedInputOfAConstantVectorIsUniform) {
  for (const Prg prg : {Prg::kChaCha20, Prg::kAes256Ctr}) {
    SessionConfig config = TestConfig(300'000);
    config.prg = prg;
    const TestCohort cohort = Silence(config);
    Play play(cohort);
    ASSERT_TRUE(play.Advertise() && play.Share() && play.Mask());
    for (size_t i = 0; i < 3; ++i) ExpectUniform(MaskedInput(play, i));
    // The test can fail: what is masked is far from uniform.
    EXPECT_GT(ChiSquare(cohort.PlainInput(0)), 1e6);
  }
}

TEST(SecrecyTest, TwoRoundsShareNoBlock) {
  std::set<std::string> blocks;
  size_t count = 0;
  for (const uint8_t round : {uint8_t{1}, uint8_t{2}}) {
    SessionConfig config = TestConfig(50'000);
    config.session_id[0] = round;  // the same seeds and values otherwise
    const TestCohort cohort = Silence(config);
    Play play(cohort);
    ASSERT_TRUE(play.Advertise() && play.Share() && play.Mask());
    for (size_t i = 0; i < 3; ++i) {
      const std::vector<uint8_t> y = MaskedInput(play, i);
      for (size_t at = 0; at + 16 <= y.size(); at += 16, ++count) {
        blocks.emplace(y.begin() + static_cast<ptrdiff_t>(at),
                       y.begin() + static_cast<ptrdiff_t>(at) + 16);
      }
    }
  }
  EXPECT_EQ(blocks.size(), count);
}

// Model inconsistency (Pasquini et al. 2022). A coordinator runs a second session, equal but for
// the adapter, to have one node's y under another adapter, and puts it into the first session's
// sum. All masks are bound to the adapter, so what comes out is noise: neither the sum nor that
// node's update.
TEST(SecrecyTest, OneNodeUnderAnotherAdapterMakesTheSumGarbage) {
  SessionConfig config = TestConfig(100'000);
  const TestCohort cohort(4, config, 63);
  config.adapter_hash = Sha256Of("special adapter");
  const TestCohort special(4, config, 63);
  Play play(cohort);
  Play other(special);
  ASSERT_TRUE(play.Advertise() && play.Share() && play.Mask());
  ASSERT_TRUE(other.Advertise() && other.Share() && other.Mask());
  const std::vector<uint8_t> honest = MaskedInput(play, 0);
  const std::vector<uint8_t> lured = MaskedInput(other, 0);
  ASSERT_TRUE(play.Vouch() && play.Unmask());
  SessionSum sum = std::move(play.server).TakeSum().value();
  ASSERT_TRUE(DecodeSum(CodecOf(cohort.config), sum.packed, 4).ok());

  SubtractWords(sum.packed, honest, 32);
  AddWords(sum.packed, lured, 32);
  ExpectUniform(sum.packed);
  EXPECT_EQ(ReasonOf(DecodeSum(CodecOf(cohort.config), sum.packed, 4).status()),
            AbortReason::kSumInconsistent);
  // Nor does the node's own update stand out once the others' plain sum is taken away.
  SubtractWords(sum.packed, cohort.PlainSum({"node-001", "node-002", "node-003"}), 32);
  ExpectUniform(sum.packed);
}

// What the coordinator holds before the nodes answer: the pair masks cancel, their own masks do
// not.
TEST(SecrecyTest, AccumulatorIsUniformUntilItIsUnmasked) {
  const TestCohort cohort = Silence(TestConfig(100'000), 5);
  Play play(cohort, {{4, 2}});
  ASSERT_TRUE(play.Advertise() && play.Share() && play.Mask());
  std::vector<uint8_t> sum(PackedBytes(CodecOf(cohort.config)));
  for (size_t i = 0; i < 4; ++i) AddWords(sum, MaskedInput(play, i), 32);
  ExpectUniform(sum);
}

}  // namespace
}  // namespace choir::secagg
