#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>

#include <fmt/format.h>
#include <gtest/gtest.h>

#include "secure-agg/core/seeded_bug.h"

// Breaks the library in one way after the other and runs the other tests of this folder over it:
// each bug must make a test fail, and without one all must pass. A tester of the tests.
//   secagg_seeded_bugs_test            all of them; exit status 1 if a bug is not caught
//   CHOIR_BUG=12 secagg_seeded_bugs_test   the tests under bug 12, as usual
namespace choir::secagg {
namespace {

int active_bug = 0;

struct SeededBug {
  int number;
  const char* what;
};

// A new one goes to the end; CHOIR_SEEDED_BUG(number) stands where it breaks the code.
constexpr SeededBug kSeededBugs[] = {
    {1, "a node may be a survivor and dropped at once"},
    {2, "one key, and so one nonce, seals both directions of a pair"},
    {3, "H3 of the others' signatures is not compared"},
    {4, "the threshold is one too low"},
    {5, "both shares of a dropped node are given"},
    {6, "a second survivor list is signed"},
    {7, "signatures of the key list are not verified"},
    {8, "repeated keys are taken"},
    {9, "low-order keys are taken"},
    {10, "a second request to unmask is answered"},
    {11, "the configuration's signature is not verified"},
    {12, "a round counter may come twice"},
    {13, "the own entry of the key list is not compared"},
    {14, "the own input's hash is not compared"},
    {15, "a node that uploaded lets itself be called dropped"},
    {16, "masks do not depend on the cohort's keys"},
    {17, "cohorts below the owner's minimum are taken"},
    {18, "secrets stay after the answer"},
    {19, "an input that is sent twice counts twice"},
    {20, "the coordinator takes shares that it did not ask for"},
    {21, "one signature counts as often as it is repeated"},
    {22, "Merkle paths are not verified"},
    {23, "the neighbours are not compared with the ring"},
    {24, "other values make a second input"},
    {25, "devices need no certificate"},
    {26, "opened secrets are not compared with their commitment"},
    {27, "a neighbourhood may be starved of its holders"},
    {28, "rounding depends on the cohort"},
};

// Runs the tests in a process of its own, silently. True if they all passed.
bool AllPass(int bug) {
  std::fflush(nullptr);
  const pid_t child = fork();
  if (child == 0) {
    active_bug = bug;
    ::testing::TestEventListeners& listeners = ::testing::UnitTest::GetInstance()->listeners();
    delete listeners.Release(listeners.default_result_printer());
    _exit(RUN_ALL_TESTS() == 0 ? 0 : 1);
  }
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) &&
         WEXITSTATUS(status) == 0;
}

int CatchAll() {
  GTEST_FLAG_SET(fail_fast, true);
  // Many nodes or many sessions, which take seconds and add nothing here.
  GTEST_FLAG_SET(filter,
                 "-SessionTest.DropOuts*:RegularSessionTest.S*:SecrecyTest.MaskedInput*:"
                 "RegularSessionTest.ANeighbourhood*");
  int missed = 0;
  if (!AllPass(0)) {
    fmt::print("the tests fail without any bug\n");
    ++missed;
  }
  for (const SeededBug& bug : kSeededBugs) {
    const bool caught = !AllPass(bug.number);
    fmt::print("{:>2} {}  {}\n", bug.number, caught ? "caught" : "MISSED", bug.what);
    if (!caught) ++missed;
  }
  fmt::print("{} of {} bugs caught\n", static_cast<int>(std::size(kSeededBugs)) - missed,
             std::size(kSeededBugs));
  return missed == 0 ? 0 : 1;
}

}  // namespace

int ActiveSeededBug() {
  return active_bug;
}

int RunSeededBugs() {
  const char* one = std::getenv("CHOIR_BUG");
  if (one == nullptr) return CatchAll();
  active_bug = std::atoi(one);
  return RUN_ALL_TESTS();
}

}  // namespace choir::secagg

int main(int argc, char** argv) {
  ::testing::InitGoogleTest(&argc, argv);
  return choir::secagg::RunSeededBugs();
}
