#ifndef CHOIR_ENGINE_TRAIN_TRAIN_STATE_H_
#define CHOIR_ENGINE_TRAIN_TRAIN_STATE_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/sha256.h"
#include "engine/train/evaluation_record.h"

namespace choir::engine {

// What a training run belongs to. A checkpoint goes on only where all of it is the same.
struct TrainIdentity {
  Digest base_model{};  // of the model's file
  Digest config{};      // TrainConfig::ContentDigest()
  Digest data{};        // of the tokenised documents and the order they come in
  Digest start{};       // of the adapter that training started from
  friend bool operator==(const TrainIdentity&, const TrainIdentity&) = default;
};

// Sums over the steps of a run so far.
struct TrainTotals {
  double nll = 0;         // weighted
  double weight = 0;      // sum of loss weights
  uint64_t tokens = 0;    // that were fed, without padding
  uint64_t examples = 0;  // documents, or pieces of long ones, that were fed
  friend bool operator==(const TrainTotals&, const TrainTotals&) = default;
};

// A training run between two steps: everything that the next step depends on. A run that is
// restored from it ends with the same bits as one that was never interrupted (on the CPU).
struct TrainState {
  TrainIdentity identity;
  int64_t step = 0;      // steps that are done
  std::string position;  // PackerState::Serialize(): what the next step reads
  TrainTotals totals;
  // Of the trained factors and the others, in canonical order (engine/lora/adapter.h, Flatten).
  std::vector<float> parameters;
  // AdamW's moments in the same order; zero for factors that are not trained.
  std::vector<float> first_moment;
  std::vector<float> second_moment;
  EvaluationRecord evaluations;
  // The parameters of evaluations.best_step, in the same order; empty before the first evaluation.
  std::vector<float> best_parameters;
};

// The file: "CHOIRTRN", version (u32 2), the identity (4 x 32 bytes), step (u64), totals (f64 nll,
// f64 weight, u64 tokens, u64 examples), evaluations (u64 how many, f64 first, best and last loss,
// i64 best and last step, u64 without gain), length and text of the position (u32, bytes), the
// number of parameters N (u64), 3 x N f32, after at least one evaluation the best parameters
// (N f32), and the SHA-256 of all bytes before it. Little-endian.
std::string SerializeTrainState(const TrainState& state);

// DATA_LOSS: truncated, a checksum that does not match, or a length that lies. INVALID_ARGUMENT:
// not a checkpoint, or of another version.
absl::StatusOr<TrainState> ParseTrainState(std::string_view bytes);

// A state's vectors, one at a time: parameters, first moments, second moments and, after at least
// one evaluation, the best parameters.
using StateVectors = std::function<absl::StatusOr<std::vector<float>>(size_t i)>;

// All or nothing: a crash leaves the old file or the new one. `head` is a state whose own vectors
// are empty; `vectors` are asked for one after another, each of `num_parameters`, so that a
// checkpoint takes the memory of one of them.
absl::Status WriteTrainState(const TrainState& head, uint64_t num_parameters,
                             const StateVectors& vectors, const std::string& path);
// NOT_FOUND if there is no such file; otherwise as ParseTrainState, with the path.
absl::StatusOr<TrainState> ReadTrainState(const std::string& path);

// FAILED_PRECONDITION says what differs: the base model, the settings, the data or the start.
absl::Status CheckSameRun(const TrainIdentity& checkpoint, const TrainIdentity& run);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_TRAIN_STATE_H_
