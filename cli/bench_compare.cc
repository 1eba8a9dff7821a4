#include "cli/bench_compare.h"

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/process_memory.h"
#include "base/status_macros.h"
#include "bench/in_turn.h"
#include "bench/infer_measure.h"
#include "bench/memory_reader.h"
#include "bench/train_measure.h"
#include "cli/bench_compare_report.h"
#include "cli/bench_setup.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/progress.h"
#include "cli/recompute_option.h"
#include "cli/train_options.h"
#include "engine/train/training_plan.h"

namespace choir::cli {
namespace {

// How often the machine's best is measured again while runs take turns.
constexpr int64_t kLimitsBetween = 4;

// What reading memory reads in its turn: as much as a token of a middling model.
constexpr int64_t kReadingBytes = int64_t{256} << 20;

// One weight format.
struct Entry {
  std::string format;
  std::unique_ptr<engine::Model> model;
  std::unique_ptr<engine::DeviceModel> weights;
  std::unique_ptr<engine::DeviceAdapter> adapter;  // only with --lora
};

class Comparer {
 public:
  Comparer(const BenchOptions& options, Environment& environment)
      : options_(options), environment_(environment) {}
  absl::Status Run();

 private:
  using Part = bench::InferRun::Part;

  absl::Status CheckOptions() const;
  absl::StatusOr<Entry> Open(const std::string& format);
  absl::StatusOr<std::unique_ptr<bench::TrainRun>> StartTraining(Entry& entry);
  absl::Status CompareTraining();
  absl::Status CompareInference(Part part);
  absl::Status TakeTurns(const std::string& name, const std::vector<bench::MeasuredRun*>& runs,
                         int64_t rounds);
  absl::Status MeasureBest() {
    return MeasureLimits(options_, entries_.front().model->spec(), comparison_.head);
  }
  [[nodiscard]] bool in_place() const { return backend_->info().backend == "cpu"; }

  BenchOptions options_;
  Environment& environment_;
  Comparison comparison_;
  std::unique_ptr<engine::Backend> backend_;
  std::vector<Entry> entries_;
};

absl::Status Comparer::CheckOptions() const {
  if (!options_.trace.empty()) {
    return UsageError("--trace shows one program", "give one format, without --lora");
  }
  if (!options_.model.empty() && options_.Formats().size() > 1) {
    return UsageError("--model has the format of its file; --dtype is for --shape");
  }
  return absl::OkStatus();
}

absl::StatusOr<Entry> Comparer::Open(const std::string& format) {
  Entry entry;
  CHOIR_ASSIGN_OR_RETURN(entry.model, BenchModel(options_, format));
  CHOIR_ASSIGN_OR_RETURN(entry.format, FormatNameOf(*entry.model));
  CHOIR_ASSIGN_OR_RETURN(engine::DeviceModel weights,
                         engine::DeviceModel::Load(*backend_, *entry.model));
  entry.weights = std::make_unique<engine::DeviceModel>(std::move(weights));
  if (!options_.lora) return entry;
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter, BenchAdapter(options_, *entry.model));
  CHOIR_ASSIGN_OR_RETURN(
      engine::DeviceAdapter on_device,
      engine::DeviceAdapter::Create(*backend_, engine::LayoutOf(adapter), false));
  CHOIR_RETURN_IF_ERROR(
      on_device.Write(engine::AdapterPart::kParameters, engine::Flatten(adapter)));
  entry.adapter = std::make_unique<engine::DeviceAdapter>(std::move(on_device));
  return entry;
}

// Without recomputing unless told to: what is set up first would else look faster than the rest.
absl::StatusOr<std::unique_ptr<bench::TrainRun>> Comparer::StartTraining(Entry& entry) {
  const engine::Model& model = *entry.model;
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter start, BenchAdapter(options_, model));
  engine::TrainConfig config = BenchTrainConfig(options_);
  CHOIR_ASSIGN_OR_RETURN(engine::TrainingData data, BenchData(options_, model, environment_));
  CHOIR_ASSIGN_OR_RETURN(const uint64_t memory_bytes, MemoryFor(options_.budget, backend_->info()));
  const engine::Recompute recompute =
      options_.recompute == "auto" ? engine::Recompute::kOff : RecomputeOf(options_.recompute);
  CHOIR_ASSIGN_OR_RETURN(const engine::TrainingPlan plan,
                         engine::PlanTraining(model, engine::LayoutOf(start), config, *backend_,
                                              {memory_bytes, &ResidentBytes}, recompute));
  const absl::Status fits = engine::CheckFits(plan, backend_->info(), memory_bytes);
  if (!fits.ok() || plan.weights.streams_blocks()) {
    return WithHint(absl::ResourceExhaustedError(
                        fmt::format("{} does not fit the memory beside the formats before it ({})",
                                    entry.format, HumaneBytes(memory_bytes))),
                    "compare fewer formats at once, or lower --ctx");
  }
  config.recomputed_blocks = plan.recomputed_blocks;
  config.kept = plan.kept;
  if (in_place()) {
    CHOIR_ASSIGN_OR_RETURN(*entry.weights,
                           engine::DeviceModel::Load(*backend_, model, plan.weights));
  }
  return bench::TrainRun::Create(
      {model, *backend_, *entry.weights, std::move(start), config, environment_.clock},
      std::move(data));
}

absl::Status Comparer::TakeTurns(const std::string& name,
                                 const std::vector<bench::MeasuredRun*>& runs, int64_t rounds) {
  const int64_t between = (rounds + kLimitsBetween - 1) / kLimitsBetween;
  ProgressBar progress(environment_.output, environment_.clock, name, rounds);
  const auto after_round = [&](int64_t done) -> absl::Status {
    progress.Update(done, fmt::format("rounds of {}", runs.size()));
    return done % between == 0 || done == rounds ? MeasureBest() : absl::OkStatus();
  };
  CHOIR_RETURN_IF_ERROR(MeasureBest());
  return bench::RunInTurn(runs, rounds, after_round);
}

absl::Status Comparer::CompareTraining() {
  std::vector<std::unique_ptr<bench::TrainRun>> runs;
  std::vector<bench::MeasuredRun*> turns;
  for (Entry& entry : entries_) {
    CHOIR_ASSIGN_OR_RETURN(std::unique_ptr<bench::TrainRun> run, StartTraining(entry));
    turns.push_back(run.get());
    runs.push_back(std::move(run));
  }
  CHOIR_RETURN_IF_ERROR(TakeTurns("train", turns, options_.steps));
  ComparedPart part{.name = "train", .heading = {}, .by_bandwidth = false, .runs = {}};
  for (size_t i = 0; i < runs.size(); ++i) {
    const bench::TrainMeasurement m = runs[i]->Result();
    part.runs.push_back({.format = entries_[i].format,
                         .adapter = false,
                         .weight_bytes = entries_[i].weights->weight_bytes(),
                         .times = m.steps,
                         .tokens_per_step = m.tokens_per_step,
                         .work = m.work,
                         .ops = m.ops});
    part.heading = fmt::format("steps of {} x {} tokens, {:.1f} % of them real", options_.batch,
                               options_.context_tokens, 100 * m.useful_share);
  }
  comparison_.parts.push_back(std::move(part));
  if (!in_place()) return absl::OkStatus();
  runs.clear();
  for (Entry& entry : entries_) {
    CHOIR_ASSIGN_OR_RETURN(*entry.weights, engine::DeviceModel::Load(*backend_, *entry.model));
  }
  return absl::OkStatus();
}

absl::Status Comparer::CompareInference(Part which) {
  const bool prompt = which == Part::kPrompt;
  std::vector<std::unique_ptr<bench::InferRun>> runs;
  std::vector<bench::MeasuredRun*> turns;
  ComparedPart part{
      .name = prompt ? "prompt" : "generate", .heading = {}, .by_bandwidth = !prompt, .runs = {}};
  const auto add = [&](const Entry& entry, const engine::DeviceAdapter* adapter) -> absl::Status {
    CHOIR_ASSIGN_OR_RETURN(
        std::unique_ptr<bench::InferRun> run,
        bench::InferRun::Create(BenchInferSetup(options_, *entry.model, *backend_, *entry.weights,
                                                adapter, environment_.clock),
                                which));
    turns.push_back(run.get());
    runs.push_back(std::move(run));
    part.runs.push_back({.format = entry.format,
                         .adapter = adapter != nullptr,
                         .weight_bytes = entry.weights->weight_bytes(),
                         .times = {},
                         .tokens_per_step = 0,
                         .work = {},
                         .ops = {}});
    return absl::OkStatus();
  };
  for (const Entry& entry : entries_) {
    CHOIR_RETURN_IF_ERROR(add(entry, nullptr));
    if (entry.adapter != nullptr) CHOIR_RETURN_IF_ERROR(add(entry, entry.adapter.get()));
  }
  std::unique_ptr<bench::MemoryReader> reader;
  if (!prompt && in_place()) {
    CHOIR_ASSIGN_OR_RETURN(reader,
                           bench::MemoryReader::Create(BenchThreads(options_), kReadingBytes));
    turns.push_back(reader.get());
  }
  CHOIR_RETURN_IF_ERROR(TakeTurns(part.name, turns, prompt ? options_.steps : options_.new_tokens));
  if (reader != nullptr) {
    part.reading = reader->times();
    part.reading_bytes = reader->bytes();
  }
  for (size_t i = 0; i < runs.size(); ++i) {
    bench::InferMeasurement m = runs[i]->Result();
    part.heading = prompt ? fmt::format("prompts of {} tokens, {} at once", m.tokens, m.batch)
                          : fmt::format("single tokens after {}", options_.context_tokens);
    part.runs[i].times = m.runs;
    part.runs[i].tokens_per_step = static_cast<double>(m.tokens);
    part.runs[i].work = m.work;
    part.runs[i].ops = std::move(m.ops);
  }
  comparison_.parts.push_back(std::move(part));
  return absl::OkStatus();
}

absl::Status Comparer::Run() {
  CHOIR_RETURN_IF_ERROR(CheckOptions());
  options_.device.profile = options_.profile;
  CHOIR_ASSIGN_OR_RETURN(backend_, OpenBackend(options_.device));
  comparison_.head = BenchHeadOf(options_, *backend_);
  comparison_.modules = ModulesOf(options_);
  comparison_.rank = options_.rank;
  for (const std::string& format : options_.Formats()) {
    CHOIR_ASSIGN_OR_RETURN(Entry entry, Open(format));
    entries_.push_back(std::move(entry));
  }
  if (options_.Wants("train")) CHOIR_RETURN_IF_ERROR(CompareTraining());
  if (options_.Wants("prompt")) CHOIR_RETURN_IF_ERROR(CompareInference(Part::kPrompt));
  if (options_.Wants("generate")) CHOIR_RETURN_IF_ERROR(CompareInference(Part::kGeneration));
  comparison_.head.device = backend_->info();  // by now it knows the ways of its products
  environment_.output.Line(DescribeComparison(comparison_));
  environment_.output.Json(ComparisonToJson(comparison_));
  return absl::OkStatus();
}

}  // namespace

absl::Status CompareInTurn(const BenchOptions& options, Environment& environment) {
  return Comparer(options, environment).Run();
}

}  // namespace choir::cli
