#include "node/ledger/ledger.h"

#include <cmath>
#include <filesystem>
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "secure-agg/core/abort_reason.h"
#include "secure-agg/core/messages.h"
#include "tests/support/temp_dir.h"

namespace choir::node {
namespace {

using testing::HasSubstr;

secagg::SessionConfig Config(privacy::Mechanism mechanism) {
  secagg::SessionConfig config;
  config.federation_id = "f";
  config.run_id = "r";
  config.delta_length = 1000;
  config.word_bits = 32;
  config.value_bits = 27;
  config.min_cohort = 5;
  config.max_cohort = 32;
  config.privacy = {mechanism, 1, 1e-5, 0};
  if (mechanism == privacy::Mechanism::kNone) config.privacy = {};
  return config;
}

Departure Left(const std::string& session,
               privacy::Mechanism mechanism = privacy::Mechanism::kDiscreteGaussian) {
  Departure departure;
  departure.time = absl::FromUnixSeconds(1'800'000'000);
  departure.run_id = "r";
  departure.round = 3;
  departure.session_hex = session;
  departure.masked_bytes = 4096;
  departure.input_hash_hex = "ab";
  departure.config = secagg::Encode(Config(mechanism));
  return departure;
}

class LedgerTest : public testing::Test {
 protected:
  Ledger Open() {
    absl::StatusOr<Ledger> ledger = Ledger::Open(path_);
    EXPECT_TRUE(ledger.ok()) << ledger.status();
    return *std::move(ledger);
  }
  void Fill() {
    Ledger ledger = Open();
    ASSERT_TRUE(ledger.NoteDeparture(Left("aa")).ok());
    ASSERT_TRUE(ledger.NoteOutcome("aa", {absl::Now(), "in the sum", true, "cc", 7, 1.5}).ok());
    ASSERT_TRUE(ledger.NoteDeparture(Left("bb")).ok());
  }
  std::string Text() { return ReadFile(path_, 1 << 20).value(); }
  void Write(const std::string& text) { std::ofstream(path_, std::ios::trunc) << text; }
  std::optional<secagg::AbortReason> Problem() {
    return secagg::ReasonOf(Ledger::Open(path_).status());
  }

  TempDir dir_;
  std::string path_ = dir_.path() + "/ledger.jsonl";
};

TEST_F(LedgerTest, SaysWhatLeftWhatItCostAndWhatBecameOfIt) {
  Fill();
  const Ledger ledger = Open();
  ASSERT_EQ(ledger.departures().size(), 2u);
  const Departure& first = ledger.departures()[0];
  EXPECT_EQ(first.masked_bytes, 4096u);
  EXPECT_EQ(first.mechanism, "discrete-gaussian");
  EXPECT_EQ(first.outcome, "in the sum");
  EXPECT_TRUE(first.in_the_sum);
  EXPECT_EQ(first.contributors, 7u);
  EXPECT_EQ(first.stated_epsilon, 1.5);
  EXPECT_EQ(first.config, secagg::Encode(Config(privacy::Mechanism::kDiscreteGaussian)));
  EXPECT_NEAR(first.epsilon, privacy::EpsilonOf(privacy::GaussianRdp(1), 1e-5), 1e-6);
  const double both = privacy::EpsilonOf(privacy::GaussianRdp(1).Times(2), 1e-5);
  EXPECT_NEAR(ledger.departures()[1].epsilon, both, 1e-6);
  EXPECT_NEAR(privacy::EpsilonOf(ledger.Spent(), 1e-5), both, 1e-6);
  EXPECT_EQ(ledger.departures()[1].outcome, "");
}

TEST_F(LedgerTest, ASessionIsNotedOnce) {
  Fill();
  Ledger ledger = Open();
  const std::string before = Text();
  ASSERT_TRUE(ledger.NoteDeparture(Left("aa")).ok());
  ASSERT_TRUE(ledger.NoteOutcome("aa", {absl::Now(), "abandoned", false, "", 0, 0}).ok());
  ASSERT_TRUE(ledger.NoteOutcome("dd", {absl::Now(), "nothing left", false, "", 0, 0}).ok());
  EXPECT_EQ(Text(), before);
}

TEST_F(LedgerTest, WithoutNoiseNothingIsPromisedEverAgain) {
  Ledger ledger = Open();
  ASSERT_TRUE(ledger.NoteDeparture(Left("aa", privacy::Mechanism::kNone)).ok());
  ASSERT_TRUE(ledger.NoteDeparture(Left("bb")).ok());
  EXPECT_EQ(Open().departures()[1].epsilon, HUGE_VAL);
  EXPECT_EQ(privacy::EpsilonOf(Open().Spent(), 1e-5), HUGE_VAL);
}

TEST_F(LedgerTest, AnyChangedByteIsNoticed) {
  Fill();
  const std::string good = Text();
  for (size_t i = 0; i < good.size(); i += 7) {
    std::string bad = good;
    bad[i] = static_cast<char>(bad[i] ^ 1);
    Write(bad);
    EXPECT_EQ(Problem(), secagg::AbortReason::kDamagedLedger) << "byte " << i;
  }
}

TEST_F(LedgerTest, MissingLinesAreNoticed) {
  Fill();
  const std::string good = Text();
  const size_t first = good.find('\n') + 1;
  Write(good.substr(first));  // the oldest is gone
  EXPECT_EQ(Problem(), secagg::AbortReason::kDamagedLedger);
  Write(good.substr(0, first));  // the newest are gone
  EXPECT_EQ(Problem(), secagg::AbortReason::kDamagedLedger);
  std::filesystem::remove(path_);
  EXPECT_EQ(Problem(), secagg::AbortReason::kDamagedLedger) << "never begun anew";
}

TEST_F(LedgerTest, ALostHeadIsNoticed) {
  Fill();
  std::filesystem::remove(path_ + ".head");
  EXPECT_EQ(Problem(), secagg::AbortReason::kDamagedLedger);
  std::ofstream(path_ + ".head") << "three";
  EXPECT_EQ(Problem(), secagg::AbortReason::kDamagedLedger);
}

TEST_F(LedgerTest, ACrashBetweenLineAndHeadIsNoDamage) {
  Fill();
  const std::string head = ReadFile(path_ + ".head", 256).value();
  Ledger ledger = Open();
  ASSERT_TRUE(ledger.NoteDeparture(Left("ee")).ok());
  ASSERT_TRUE(AtomicWriteFile(path_ + ".head", head).ok());
  EXPECT_EQ(Open().departures().size(), 3u);
}

TEST_F(LedgerTest, ALineThatACrashCutShortIsWrittenOver) {
  Fill();
  const std::string good = Text();
  Write(good + "{\"hash\":\"12");
  Ledger ledger = Open();
  EXPECT_EQ(ledger.departures().size(), 2u);
  ASSERT_TRUE(ledger.NoteDeparture(Left("ee")).ok());
  EXPECT_EQ(Open().departures().size(), 3u);
  EXPECT_THAT(Text(), HasSubstr(good));
}

}  // namespace
}  // namespace choir::node
