#include "engine/train/train_state.h"

#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"

namespace choir::engine {
namespace {

TrainState SomeState() {
  TrainState state;
  state.identity.base_model = Sha256Of("model");
  state.identity.config = Sha256Of("config");
  state.identity.data = Sha256Of("data");
  state.identity.start = Sha256Of("start");
  state.step = 7;
  state.position = "choir-packer 3 42 0 7";
  state.totals = {.nll = 12.5, .weight = 64, .tokens = 448, .examples = 9};
  state.parameters = {1.0f, -2.5f};
  state.first_moment = {0.25f, 0.0f};
  state.second_moment = {0.125f, 3.0f};
  state.evaluations.Add(0, 3.5);
  state.evaluations.Add(4, 2.5);
  state.evaluations.Add(7, 2.75);
  state.best_parameters = {0.5f, -2.0f};
  return state;
}

// Repairs the checksum after a change, as an attacker or a bug could.
std::string WithChecksum(std::string bytes) {
  bytes.resize(bytes.size() - 32);
  const Digest digest = Sha256Of(bytes);
  bytes.append(reinterpret_cast<const char*>(digest.data()), digest.size());
  return bytes;
}

absl::Status Write(TrainState state, const std::string& path) {
  std::vector<std::vector<float>> vectors;
  for (std::vector<float>* const values :
       {&state.parameters, &state.first_moment, &state.second_moment, &state.best_parameters}) {
    vectors.push_back(std::exchange(*values, {}));
  }
  return WriteTrainState(
      state, vectors[0].size(),
      [&](size_t i) -> absl::StatusOr<std::vector<float>> { return vectors.at(i); }, path);
}

TEST(TrainStateTest, ComesBackAsItWent) {
  const TrainState state = SomeState();
  const auto parsed = ParseTrainState(SerializeTrainState(state));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->identity, state.identity);
  EXPECT_EQ(parsed->step, 7);
  EXPECT_EQ(parsed->position, state.position);
  EXPECT_EQ(parsed->totals, state.totals);
  EXPECT_EQ(parsed->parameters, state.parameters);
  EXPECT_EQ(parsed->first_moment, state.first_moment);
  EXPECT_EQ(parsed->second_moment, state.second_moment);
  EXPECT_EQ(parsed->evaluations, state.evaluations);
  EXPECT_EQ(parsed->best_parameters, state.best_parameters);
}

TEST(TrainStateTest, WithoutEvaluationsThereAreNoBestParameters) {
  TrainState state = SomeState();
  state.evaluations = {};
  state.best_parameters.clear();
  const auto parsed = ParseTrainState(SerializeTrainState(state));
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->second_moment, state.second_moment);
  EXPECT_EQ(parsed->evaluations, EvaluationRecord());
  EXPECT_TRUE(parsed->best_parameters.empty());
}

TEST(TrainStateTest, RecordThatNoRunWritesIsDataLoss) {
  TrainState late = SomeState();
  late.evaluations.last_step = 8;  // of 7 steps
  TrainState impatient = SomeState();
  impatient.evaluations.without_gain = 4;  // of 3 evaluations
  TrainState empty = SomeState();
  empty.evaluations = {};  // but there are best parameters
  for (const TrainState& state : {late, impatient, empty}) {
    EXPECT_EQ(ParseTrainState(SerializeTrainState(state)).status().code(),
              absl::StatusCode::kDataLoss);
  }
}

TEST(TrainStateTest, EveryTruncationIsAnError) {
  const std::string bytes = SerializeTrainState(SomeState());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(ParseTrainState(bytes.substr(0, size)).ok()) << size;
  }
}

TEST(TrainStateTest, EveryFlippedByteIsAnError) {
  const std::string bytes = SerializeTrainState(SomeState());
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string damaged = bytes;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x20);
    EXPECT_FALSE(ParseTrainState(damaged).ok()) << i;
  }
}

TEST(TrainStateTest, LyingCountWithAValidChecksumIsDataLoss) {
  std::string bytes = SerializeTrainState(SomeState());
  const size_t count_at = bytes.size() - 32 - 4 * 2 * 4 - 8;
  const uint64_t lie = 0x1000000000000002;  // times 16 wraps to 32
  std::memcpy(bytes.data() + count_at, &lie, sizeof(lie));
  EXPECT_EQ(ParseTrainState(WithChecksum(bytes)).status().code(), absl::StatusCode::kDataLoss);
}

TEST(TrainStateTest, LyingPositionLengthIsDataLoss) {
  std::string bytes = SerializeTrainState(SomeState());
  const size_t length_at = 8 + 4 + 4 * 32 + 5 * 8 + 7 * 8;
  const uint32_t lie = 4000;
  std::memcpy(bytes.data() + length_at, &lie, sizeof(lie));
  EXPECT_EQ(ParseTrainState(WithChecksum(bytes)).status().code(), absl::StatusCode::kDataLoss);
}

TEST(TrainStateTest, OtherVersionSaysSo) {
  std::string bytes = SerializeTrainState(SomeState());
  bytes[8] = 9;
  EXPECT_EQ(ParseTrainState(bytes).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(TrainStateTest, FileIsReplacedAndMissingOneIsNotFound) {
  const TempDir dir;
  const std::string path = dir.path() + "/state";
  EXPECT_EQ(ReadTrainState(path).status().code(), absl::StatusCode::kNotFound);
  TrainState state = SomeState();
  ASSERT_TRUE(Write(state, path).ok());
  state.step = 8;
  ASSERT_TRUE(Write(state, path).ok());
  EXPECT_EQ(ReadTrainState(path)->step, 8);
}

TEST(TrainStateTest, ForeignRunSaysWhatDiffers) {
  const TrainIdentity run = SomeState().identity;
  TrainIdentity other = run;
  EXPECT_TRUE(CheckSameRun(other, run).ok());
  other.data = Sha256Of("more data");
  const absl::Status status = CheckSameRun(other, run);
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("other training data"), absl::string_view::npos);
}

}  // namespace
}  // namespace choir::engine
