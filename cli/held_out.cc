#include "cli/held_out.h"

#include <utility>
#include <vector>

#include "absl/container/flat_hash_set.h"
#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/interrupt.h"
#include "cli/progress.h"

namespace choir::cli {
namespace {

constexpr const char* kGroup = "Held-out data";

using Digests = absl::flat_hash_set<Digest>;
using Take = std::function<bool(const engine::ExampleDigest&)>;

// The same reading, of a part of the examples.
DataOptions Taking(DataOptions options, Take take) {
  options.take = std::move(take);
  return options;
}

absl::StatusOr<SplitData> HoldOutPart(const std::string& path, const HeldOutOptions& held_out,
                                      const engine::Model& model, const DataOptions& options,
                                      uint64_t seed, Output& output) {
  std::vector<Digest> digests;
  CHOIR_RETURN_IF_ERROR(ReadDigests("data", path, options,
                                    [&digests](const Digest& loose) { digests.push_back(loose); }));
  const auto split = engine::HeldOutSplit::Choose(held_out.split, seed, std::move(digests));
  if (!split.ok()) return BadInput("data", path, split.status(), "use --eval-data FILE instead");
  CHOIR_ASSIGN_OR_RETURN(
      engine::TrainingData training,
      LoadData("data", path, model,
               Taking(options, [&split](const auto& d) { return !split->HoldsOut(d.loose); }),
               DataUse::kTraining, seed, output));
  CHOIR_ASSIGN_OR_RETURN(
      engine::TrainingData evaluation,
      LoadData("held-out data", path, model,
               Taking(options, [&split](const auto& d) { return split->HoldsOut(d.loose); }),
               DataUse::kEvaluation, 0, output));
  output.Note(fmt::format("held out {} of {} different examples, by --seed {}",
                          HumaneCount(static_cast<int64_t>(split->held_out())),
                          HumaneCount(static_cast<int64_t>(split->different())), seed));
  return SplitData{std::move(training), std::move(evaluation)};
}

// An adapter that learned its test by heart would look like the best one.
absl::Status RefuseLeak(const std::string& path, const HeldOutOptions& held_out,
                        const DataOptions& options) {
  Digests training;
  CHOIR_RETURN_IF_ERROR(ReadDigests("data", path, options,
                                    [&training](const Digest& loose) { training.insert(loose); }));
  uint64_t both = 0;
  uint64_t all = 0;
  CHOIR_RETURN_IF_ERROR(
      ReadDigests("held-out data", held_out.data, options, [&](const Digest& loose) {
        ++all;
        both += training.contains(loose) ? 1 : 0;
      }));
  if (both == 0) return absl::OkStatus();
  return BadInput(
      "held-out data", held_out.data,
      absl::InvalidArgumentError(fmt::format(
          "{} of its {} examples are in the training data too: the loss on them says nothing", both,
          all)),
      "take them out of one of the two, or hold out a part of --data with --eval-split 0.1; "
      "`choir eval` measures any data");
}

}  // namespace

void AddHeldOutOptions(CLI::App& app, HeldOutOptions& options) {
  CLI::Option* data =
      app.add_option("--eval-data", options.data,
                     "Measure the loss on this before, while and after training; it must share no "
                     "example with --data")
          ->type_name("PATH")
          ->group(kGroup);
  app.add_option("--eval-split", options.split,
                 "Hold this part of --data out of training and measure on it: 0.1 is a tenth of "
                 "the different examples, chosen by --seed")
      ->check(CLI::Range(0.0, 1.0).description(""))
      ->type_name("PART")
      ->excludes(data)
      ->group(kGroup);
  app.add_option("--eval-every", options.every,
                 "Steps between measurements; 0: at the start and the end only")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40).description(""))
      ->type_name("N")
      ->group(kGroup);
  app.add_option("--patience", options.patience,
                 "Stop early after this many measurements in a row without a new best; 0: never")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 40).description(""))
      ->type_name("K")
      ->group(kGroup);
  app.add_option("--keep", options.keep,
                 "Which adapter is the result: the best one that was measured, or the last one")
      ->check(OneOf({"best", "last"}))
      ->type_name("WHICH")
      ->capture_default_str()
      ->group(kGroup);
}

absl::Status CheckHeldOutOptions(const HeldOutOptions& options) {
  if (!options.any() && (options.every > 0 || options.patience > 0)) {
    return UsageError("--eval-every and --patience need --eval-data or --eval-split");
  }
  if (options.patience > 0 && options.every == 0) {
    return UsageError("--patience counts measurements: it needs --eval-every");
  }
  if (options.split >= 1.0) return UsageError("--eval-split 1 leaves nothing to train on");
  return absl::OkStatus();
}

absl::StatusOr<SplitData> LoadSplitData(const std::string& path, const HeldOutOptions& held_out,
                                        const engine::Model& model, const DataOptions& options,
                                        uint64_t seed, Output& output) {
  if (held_out.split > 0) return HoldOutPart(path, held_out, model, options, seed, output);
  CHOIR_ASSIGN_OR_RETURN(engine::TrainingData training,
                         LoadData("data", path, model, options, DataUse::kTraining, seed, output));
  SplitData data{std::move(training), std::nullopt};
  if (held_out.data.empty()) return data;
  CHOIR_RETURN_IF_ERROR(RefuseLeak(path, held_out, options));
  CHOIR_ASSIGN_OR_RETURN(data.held_out, LoadData("held-out data", held_out.data, model, options,
                                                 DataUse::kEvaluation, 0, output));
  return data;
}

engine::EvaluationPlan EvaluationPlanOf(const HeldOutOptions& options,
                                        const std::optional<engine::TrainingData>& held_out) {
  if (!held_out.has_value()) return {};
  return {.every_steps = options.every, .patience = options.patience, .held_out = held_out->digest};
}

absl::StatusOr<HeldOut> HeldOut::Create(const EngineSession& session,
                                        const engine::DeviceAdapter& adapter,
                                        const engine::TrainingData& data, int64_t context_tokens,
                                        engine::Compute compute, Output& output,
                                        const Clock& clock) {
  CHOIR_ASSIGN_OR_RETURN(
      engine::Evaluator evaluator,
      engine::Evaluator::Create(*session.model, *session.backend, *session.weights, &adapter,
                                context_tokens, compute));
  return HeldOut(std::move(evaluator), data.packer, output, clock);
}

absl::StatusOr<double> HeldOut::Measure() {
  // Its result is a line of its own: in a log, the way there would only be in the way.
  std::optional<ProgressBar> bar;
  if (output_->err_terminal().is_terminal) {
    bar.emplace(*output_, *clock_, "eval", static_cast<int64_t>(packer_.MicroBatchesInEpoch()));
  }
  CHOIR_ASSIGN_OR_RETURN(const engine::Evaluation evaluation,
                         evaluator_.Evaluate(packer_, [&bar](uint64_t done, uint64_t /*total*/) {
                           if (bar.has_value()) bar->Update(static_cast<int64_t>(done), "");
                           return !InterruptRequested();
                         }));
  tokens_ = evaluation.tokens;
  return evaluation.mean_nll;
}

}  // namespace choir::cli
