#include <algorithm>
#include <cstdlib>
#include <map>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "secure-agg/core/graph.h"
#include "secure-agg/tests/cohort.h"

// Nodes fall silent in every phase and at every rate: the sum is exact where enough are left, the
// session ends with a reason where not, and nothing is ever opened in part.
//   CHOIR_SWEEP_SESSIONS=10000  so many sessions (500 without)
//   CHOIR_SWEEP_FIRST=n         beginning with the n-th; with CHOIR_SWEEP_SESSIONS=1 that one alone
namespace choir::secagg {
namespace {

constexpr double kRates[] = {0, 0.05, 0.10, 0.15, 0.18, 0.20, 0.30, 0.50};
constexpr int kPhases = 5;  // keys, shares, input, signature, unmasking

uint64_t FromEnvironment(const char* name, uint64_t fallback) {
  const char* value = std::getenv(name);
  return value == nullptr ? fallback : std::strtoull(value, nullptr, 10);
}

struct Plan {
  uint64_t number = 0;
  uint32_t nodes = 0;
  bool regular = false;
  double rate = 0;
  int phase = 0;  // kPhases: in each of them
  std::map<size_t, int> silent;
};

// Session `number` of the sweep: all rates and phases come by turns, large cohorts more rarely.
Plan PlanOf(uint64_t number) {
  Plan plan;
  plan.number = number;
  plan.rate = kRates[number % std::size(kRates)];
  plan.phase = static_cast<int>(number / std::size(kRates) % (kPhases + 1));
  const uint64_t size = number * 37 % 100;
  plan.nodes = size < 70 ? 10 : size < 98 ? 20 : size == 98 ? 64 : 100;
  plan.regular = plan.nodes >= 20 && number % 3 == 0;
  SeededRng rng(number + 1);
  for (uint32_t i = 0; i < plan.nodes; ++i) {
    for (int phase = 0; phase < kPhases; ++phase) {
      if (plan.phase != kPhases && plan.phase != phase) continue;
      if (rng.NextUnit() < plan.rate) {
        plan.silent[i] = phase;
        break;
      }
    }
  }
  return plan;
}

// How many of the nodes speak in a phase.
uint32_t Speaking(const Plan& plan, int phase) {
  return plan.nodes - static_cast<uint32_t>(std::ranges::count_if(
                          plan.silent, [&](const auto& entry) { return entry.second <= phase; }));
}

// Whether a complete graph's session must succeed: t of those who advertised, in each later phase.
bool EnoughAreLeft(const Plan& plan) {
  const uint32_t cohort = Speaking(plan, 0);
  if (cohort < 3) return false;
  const uint32_t t = 2 * cohort / 3 + 1;
  for (int phase = 1; phase < kPhases; ++phase) {
    if (Speaking(plan, phase) < t) return false;
  }
  return true;
}

void ExpectNothingOpened(const Play& play) {
  EXPECT_EQ(play.server.stage(), ServerStage::kAborted);
  ASSERT_TRUE(play.server.abort_reason().has_value());
  const AbortReason reason = *play.server.abort_reason();
  EXPECT_TRUE(reason == AbortReason::kCohortBelowMinimum ||
              reason == AbortReason::kTooFewShareholders ||
              reason == AbortReason::kTooFewSurvivors || reason == AbortReason::kTooFewSignatures ||
              reason == AbortReason::kTooFewUnmaskShares)
      << AbortReasonName(reason);
  // Before the request to unmask went out, no node has given a share.
  if (reason == AbortReason::kTooFewUnmaskShares) return;
  for (const auto& client : play.clients) {
    EXPECT_TRUE(!client.has_value() || client->stage() < ClientStage::kAnswered);
  }
}

// True if it came to its sum.
bool PlayOne(const Plan& plan) {
  SCOPED_TRACE(fmt::format(
      "CHOIR_SWEEP_FIRST={} CHOIR_SWEEP_SESSIONS=1: {} nodes, {} graph, {} % "
      "in phase {}",
      plan.number, plan.nodes, plan.regular ? "regular" : "complete", 100 * plan.rate, plan.phase));
  SessionConfig config = plan.regular ? TestRegularConfig(3, 20, 128) : TestConfig(3);
  config.max_cohort = 128;
  config.value_bits = 22;
  const TestCohort cohort(plan.nodes, config, plan.number + 1);
  Play play(cohort, plan.silent);
  play.Run();
  const bool done = play.server.stage() == ServerStage::kDone;
  if (!plan.regular || ShapeOf(config, Speaking(plan, 0)).complete()) {
    EXPECT_EQ(done, EnoughAreLeft(plan));
  }
  if (!done) {
    ExpectNothingOpened(play);
    EXPECT_FALSE(std::move(play.server).TakeSum().ok());
    return false;
  }
  const SessionSum sum = std::move(play.server).TakeSum().value();
  EXPECT_EQ(sum.contributors.size(), Speaking(plan, 2));
  EXPECT_EQ(sum.packed, cohort.PlainSum(sum.contributors));
  return true;
}

TEST(DropoutSweepTest, ExactSumOrACleanEndInEveryPhaseAtEveryRate) {
  const uint64_t first = FromEnvironment("CHOIR_SWEEP_FIRST", 0);
  const uint64_t sessions = FromEnvironment("CHOIR_SWEEP_SESSIONS", 500);
  uint64_t done = 0;
  for (uint64_t number = first; number < first + sessions; ++number) {
    if (PlayOne(PlanOf(number))) ++done;
    ASSERT_FALSE(HasFailure()) << "session " << number;
  }
  fmt::print("{} sessions: {} sums, {} clean ends\n", sessions, done, sessions - done);
  if (sessions < 100) return;
  EXPECT_GT(done, sessions / 4);
  EXPECT_LT(done, sessions * 9 / 10);
}

}  // namespace
}  // namespace choir::secagg
