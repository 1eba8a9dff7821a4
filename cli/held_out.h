#ifndef CHOIR_CLI_HELD_OUT_H_
#define CHOIR_CLI_HELD_OUT_H_

// Data that a training run is measured on and never trains on: options, reading, measuring.

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "CLI/CLI.hpp"
#include "base/clock.h"
#include "cli/data_options.h"
#include "cli/engine_session.h"
#include "cli/output.h"
#include "engine/infer/evaluator.h"
#include "engine/train/evaluation_record.h"
#include "engine/train/training_data.h"

namespace choir::cli {

struct HeldOutOptions {
  std::string data;   // a path of its own, or
  double split = 0;   // this part of the training data
  int64_t every = 0;  // 0: at the start and the end only
  int64_t patience = 0;
  std::string keep = "best";  // or "last"

  [[nodiscard]] bool any() const { return !data.empty() || split > 0; }
  [[nodiscard]] bool keep_best() const { return any() && keep == "best"; }
};

// --eval-data, --eval-split, --eval-every, --patience, --keep.
void AddHeldOutOptions(CLI::App& app, HeldOutOptions& options);
// A usage error for options that need others.
absl::Status CheckHeldOutOptions(const HeldOutOptions& options);

struct SplitData {
  engine::TrainingData training;
  std::optional<engine::TrainingData> held_out;
};

// The training data at `path`, and what `held_out` keeps away from it. A bad-input error if an
// example (but for white space) is in both.
absl::StatusOr<SplitData> LoadSplitData(const std::string& path, const HeldOutOptions& held_out,
                                        const engine::Model& model, const DataOptions& options,
                                        uint64_t seed, Output& output);

engine::EvaluationPlan EvaluationPlanOf(const HeldOutOptions& options,
                                        const std::optional<engine::TrainingData>& held_out);

// Measures an adapter, as it stands, on the held-out data.
class HeldOut {
 public:
  // `session`, `adapter`, `output` and `clock` outlive it.
  static absl::StatusOr<HeldOut> Create(const EngineSession& session,
                                        const engine::DeviceAdapter& adapter,
                                        const engine::TrainingData& data, int64_t context_tokens,
                                        engine::Compute compute, Output& output,
                                        const Clock& clock);
  // The mean NLL. CANCELLED if the user stopped it.
  absl::StatusOr<double> Measure();
  // That were predicted in the last measurement.
  [[nodiscard]] uint64_t tokens() const { return tokens_; }

 private:
  HeldOut(engine::Evaluator evaluator, engine::Packer packer, Output& output, const Clock& clock)
      : evaluator_(std::move(evaluator)),
        packer_(std::move(packer)),
        output_(&output),
        clock_(&clock) {}

  engine::Evaluator evaluator_;
  engine::Packer packer_;
  Output* output_;
  const Clock* clock_;
  uint64_t tokens_ = 0;
};

}  // namespace choir::cli

#endif  // CHOIR_CLI_HELD_OUT_H_
