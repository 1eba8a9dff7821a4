#include "engine/train/trainer.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <utility>

#include <fmt/format.h>

#include "base/failpoint.h"
#include "base/process_memory.h"
#include "base/status_macros.h"
#include "engine/lora/latent.h"
#include "engine/ops/dropout_mask.h"
#include "engine/train/compute_choice.h"
#include "engine/train/loss_feed.h"

namespace choir::engine {
namespace {

// Added to the norm before the division, as PyTorch's clip_grad_norm_ does.
constexpr double kClipEpsilon = 1e-6;

Digest DigestOf(const Adapter& adapter) {
  Sha256 hash;
  hash.Update(std::string_view("choir/start-adapter/v1"));
  hash.UpdateU64(std::bit_cast<uint32_t>(adapter.alpha));
  for (const LoraPair& pair : adapter.pairs) {
    hash.UpdateU64(pair.name.size()).Update(pair.name);
    hash.UpdateU64(static_cast<uint64_t>(pair.rank));
    hash.UpdateU64(std::bit_cast<uint32_t>(pair.alpha));
    hash.Update(BytesOf(std::span<const float>(pair.a)));
    hash.Update(BytesOf(std::span<const float>(pair.b)));
  }
  return hash.Finish();
}

// Segments of a micro-batch are numbered from 0.
uint64_t ExamplesIn(const MicroBatch& batch) {
  int32_t last = -1;
  for (const int32_t segment : batch.segment_ids) last = std::max(last, segment);
  return static_cast<uint64_t>(last + 1);
}

absl::StatusOr<std::unique_ptr<Executable>> CompileWith(const Trainer::Parts& parts,
                                                        const DeviceAdapter& adapter,
                                                        const Graph& graph, Compute compute) {
  Bindings bindings;
  parts.weights.Bind(graph, bindings);
  adapter.Bind(graph, bindings);
  return parts.backend.Compile(graph, bindings, CompileOptions{.compute = compute});
}

}  // namespace

absl::StatusOr<std::unique_ptr<Trainer>> Trainer::Create(const Parts& parts,
                                                         const TrainConfig& config,
                                                         TrainingData data) {
  CHOIR_RETURN_IF_ERROR(ValidateTrainConfig(config));
  const std::vector<LoraTarget> targets = parts.model.LoraTargets();
  CHOIR_RETURN_IF_ERROR(ValidateAdapter(parts.start));
  CHOIR_RETURN_IF_ERROR(CheckAdapterFits(parts.start, targets));
  CHOIR_RETURN_IF_ERROR(CheckFinite(parts.start));
  CHOIR_ASSIGN_OR_RETURN(DeviceAdapter device_adapter,
                         DeviceAdapter::Create(parts.backend, LayoutOf(parts.start), true));
  CHOIR_RETURN_IF_ERROR(device_adapter.Write(AdapterPart::kParameters, Flatten(parts.start)));
  if (parts.basis != nullptr) {
    CHOIR_RETURN_IF_ERROR(CheckBasis(*parts.basis, parts.start));
    if (config.factors != TrainedFactors::kB || !config.window.IsAll()) {
      return absl::InvalidArgumentError("cores are trained through all of B, and nothing else");
    }
  }
  // The constructor is private; std::make_unique cannot reach it.
  std::unique_ptr<Trainer> trainer(
      new Trainer(parts, config, std::move(data), std::move(device_adapter)));
  CHOIR_ASSIGN_OR_RETURN(trainer->programs_, Compile(parts, config, trainer->device_adapter_));
  return trainer;
}

Trainer::Trainer(const Parts& parts, const TrainConfig& config, TrainingData data,
                 DeviceAdapter device_adapter)
    : model_(parts.model),
      config_(config),
      shape_(ShapeOf(parts.start)),
      device_adapter_(std::move(device_adapter)),
      local_terms_(parts.start, device_adapter_.layout(), config, parts.basis),
      packer_(std::move(data.packer)),
      position_(packer_.state()),
      batches_(static_cast<size_t>(config.micro_batches)) {
  identity_.base_model = parts.base_model;
  identity_.config = config.ContentDigest();
  identity_.data = data.digest;
  identity_.start = DigestOf(parts.start);
  if (parts.basis != nullptr) {
    identity_.start = Sha256().Update(identity_.start).Update(DigestOf(*parts.basis)).Finish();
  }
  total_steps_ = TotalSteps(config, packer_.MicroBatchesInEpoch());
}

absl::StatusOr<Trainer::Programs> Trainer::Compile(const Parts& parts, const TrainConfig& config,
                                                   const DeviceAdapter& device_adapter) {
  const AdapterLayout& layout = device_adapter.layout();
  const Compute compute = ChooseCompute(config.compute, parts.model.spec());
  Programs programs;
  const TrainGraphOptions options{.tokens = config.context_tokens,
                                  .factors = config.factors,
                                  .recomputed_blocks = config.recomputed_blocks,
                                  .kept = config.kept,
                                  .dropout = config.lora_dropout};
  CHOIR_ASSIGN_OR_RETURN(programs.train_graph, BuildTrainGraph(parts.model, layout, options));
  CHOIR_ASSIGN_OR_RETURN(programs.train,
                         CompileWith(parts, device_adapter, programs.train_graph.graph, compute));
  CHOIR_ASSIGN_OR_RETURN(programs.adamw_graph, BuildAdamWGraph(layout, config.factors));
  CHOIR_ASSIGN_OR_RETURN(programs.adamw,
                         CompileWith(parts, device_adapter, programs.adamw_graph.graph, compute));
  if (config.max_gradient_norm > 0) {
    CHOIR_ASSIGN_OR_RETURN(const Graph norm, BuildGradNormGraph(layout, config.factors));
    CHOIR_ASSIGN_OR_RETURN(programs.norm, CompileWith(parts, device_adapter, norm, compute));
  }
  return programs;
}

absl::Status Trainer::Restore(const TrainState& state) {
  CHOIR_RETURN_IF_ERROR(CheckSameRun(state.identity, identity_));
  if (state.step > total_steps_) {
    return absl::DataLossError(
        fmt::format("the checkpoint has {} steps of a run of {}", state.step, total_steps_));
  }
  CHOIR_ASSIGN_OR_RETURN(const PackerState position, PackerState::Parse(state.position));
  if (const absl::Status status = packer_.Restore(position); !status.ok()) {
    return absl::DataLossError(
        fmt::format("the checkpoint's place in the data: {}", std::string(status.message())));
  }
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> parameters,
                         local_terms_.FromCheckpoint(state.parameters));
  CHOIR_RETURN_IF_ERROR(device_adapter_.Write(AdapterPart::kParameters, parameters));
  CHOIR_RETURN_IF_ERROR(device_adapter_.Write(AdapterPart::kFirstMoments, state.first_moment));
  CHOIR_RETURN_IF_ERROR(device_adapter_.Write(AdapterPart::kSecondMoments, state.second_moment));
  position_ = position;
  step_ = state.step;
  totals_ = state.totals;
  evaluations_ = state.evaluations;
  best_parameters_ = state.best_parameters;
  return absl::OkStatus();
}

absl::Status Trainer::Run(const TrainHooks& hooks, const CheckpointPolicy& checkpoint,
                          const Clock& clock) {
  // A run that was stopped within a step left a part of its gradient behind.
  CHOIR_RETURN_IF_ERROR(device_adapter_.Zero(AdapterPart::kGradients));
  // What setting up has left behind.
  ReleaseFreedMemory();
  const absl::Status status = RunToTheEnd(hooks, checkpoint, clock);
  if (absl::IsCancelled(status)) CHOIR_RETURN_IF_ERROR(packer_.Restore(position_));
  if (status.ok() || absl::IsCancelled(status)) CHOIR_RETURN_IF_ERROR(SaveTo(checkpoint.path));
  return status;
}

absl::Status Trainer::RunToTheEnd(const TrainHooks& hooks, const CheckpointPolicy& checkpoint,
                                  const Clock& clock) {
  const absl::Time begin = clock.Now();
  const int64_t first_step = step_;
  uint64_t tokens = 0;
  // Of the adapter that the run begins with, or of the step whose evaluation was stopped.
  CHOIR_RETURN_IF_ERROR(EvaluateIfDue(hooks));
  while (!Finished()) {
    CHOIR_ASSIGN_OR_RETURN(const StepResult result, RunStep(hooks));
    tokens += result.tokens;
    if (hooks.on_step) hooks.on_step(Report(result, tokens, first_step, clock.Now() - begin));
    CHOIR_RETURN_IF_ERROR(EvaluateIfDue(hooks));
    // After the hooks: what the caller keeps of a step is never behind the checkpoint.
    const bool save = checkpoint.every_steps > 0 && step_ % checkpoint.every_steps == 0;
    if (save && !Finished()) CHOIR_RETURN_IF_ERROR(SaveTo(checkpoint.path));
  }
  return absl::OkStatus();
}

bool Trainer::EvaluationIsDue() const {
  if (evaluations_.evaluations == 0) return true;
  if (evaluations_.last_step == step_) return false;
  const int64_t every = config_.evaluation.every_steps;
  return step_ == total_steps_ || (every > 0 && step_ % every == 0);
}

absl::Status Trainer::EvaluateIfDue(const TrainHooks& hooks) {
  if (!hooks.evaluate || !EvaluationIsDue()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const double loss, hooks.evaluate());
  const bool is_best = evaluations_.Add(step_, loss);
  if (is_best) {
    best_parameters_ = {};  // two of them at once would be too many
    CHOIR_ASSIGN_OR_RETURN(best_parameters_, device_adapter_.Read(AdapterPart::kParameters));
  }
  if (hooks.on_evaluation) {
    hooks.on_evaluation({.step = step_, .loss = loss, .is_best = is_best, .record = evaluations_});
  }
  return absl::OkStatus();
}

StepReport Trainer::Report(const StepResult& result, uint64_t tokens, int64_t first_step,
                           absl::Duration elapsed) const {
  const double seconds = absl::ToDoubleSeconds(elapsed);
  return {.step = step_,
          .total_steps = total_steps_,
          .loss = result.weight > 0 ? result.nll / result.weight : 0.0,
          .learning_rate = LearningRate(config_.schedule, step_, total_steps_),
          .gradient_norm = result.gradient_norm,
          .tokens = result.tokens,
          .epoch = result.epoch,
          .tokens_per_second = seconds > 0 ? static_cast<double>(tokens) / seconds : 0.0,
          .remaining = elapsed / (step_ - first_step) * (total_steps_ - step_)};
}

absl::StatusOr<Trainer::StepResult> Trainer::RunStep(const TrainHooks& hooks) {
  position_ = packer_.state();
  StepResult result;
  for (MicroBatch& batch : batches_) {
    CHOIR_RETURN_IF_ERROR(packer_.Next(batch));
    CHOIR_RETURN_IF_ERROR(model_.CheckTokens(batch.token_ids));
    CHOIR_RETURN_IF_ERROR(model_.CheckTokens(batch.targets));
    result.weight += batch.total_loss_weight;
    result.tokens += static_cast<uint64_t>(batch.real_tokens);
    result.examples += ExamplesIn(batch);
    result.epoch = batch.epoch;
  }
  CHOIR_RETURN_IF_ERROR(RunMicroBatches(hooks, result));
  CHOIR_RETURN_IF_ERROR(local_terms_.BeforeUpdate(device_adapter_));
  CHOIR_ASSIGN_OR_RETURN(const float gradient_scale, ClipScale(result));
  CHOIR_RETURN_IF_ERROR(Update(step_ + 1, gradient_scale));
  CHOIR_RETURN_IF_ERROR(local_terms_.AfterUpdate(device_adapter_));
  ++step_;
  position_ = packer_.state();
  totals_.nll += result.nll;
  totals_.weight += result.weight;
  totals_.tokens += result.tokens;
  totals_.examples += result.examples;
  return result;
}

absl::Status Trainer::RunMicroBatches(const TrainHooks& hooks, StepResult& result) {
  // A step without a token to predict (pieces of a long prompt) has no gradient.
  const auto scale = static_cast<float>(result.weight > 0 ? 1.0 / result.weight : 0.0);
  for (size_t i = 0; i < batches_.size(); ++i) {
    const MicroBatch& batch = batches_[i];
    if (hooks.should_stop && hooks.should_stop()) {
      return absl::CancelledError(
          fmt::format("training was stopped after step {} of {}", step_, total_steps_));
    }
    CHOIR_RETURN_IF_ERROR(
        WriteMicroBatch(*programs_.train, programs_.train_graph.inputs, batch, scale));
    CHOIR_RETURN_IF_ERROR(WriteDropoutKey(i));
    CHOIR_RETURN_IF_ERROR(programs_.train->Run());
    CHOIR_ASSIGN_OR_RETURN(const double nll,
                           ReadWeightedNll(*programs_.train, programs_.train_graph.nll, batch));
    result.nll += nll;
  }
  if (std::isfinite(result.nll)) return absl::OkStatus();
  return absl::OutOfRangeError(fmt::format(
      "the loss is no longer a number at step {} of {}: the learning rate ({}) may be too high",
      step_ + 1, total_steps_, config_.schedule.peak));
}

absl::Status Trainer::WriteDropoutKey(size_t micro_batch) {
  const TensorId input = programs_.train_graph.dropout_key;
  if (input < 0) return absl::OkStatus();
  // The whole run's count: masks begin to repeat after 2^32 micro-batches.
  const uint64_t count = static_cast<uint64_t>(step_) * batches_.size() + micro_batch;
  const int32_t key[] = {static_cast<int32_t>(config_.dropout_seed),
                         static_cast<int32_t>(config_.dropout_seed >> 32),
                         static_cast<int32_t>(count)};
  static_assert(std::size(key) == kDropoutKeyWords);
  return programs_.train->WriteInput(input, BytesOf(std::span<const int32_t>(key)));
}

absl::StatusOr<float> Trainer::ClipScale(StepResult& result) {
  if (programs_.norm == nullptr) return 1.0f;
  CHOIR_RETURN_IF_ERROR(device_adapter_.ZeroSquaredNorm());
  CHOIR_RETURN_IF_ERROR(programs_.norm->Run());
  CHOIR_ASSIGN_OR_RETURN(const float squared, device_adapter_.ReadSquaredNorm());
  const double norm = std::sqrt(static_cast<double>(squared));
  result.gradient_norm = norm;
  return static_cast<float>(std::min(1.0, config_.max_gradient_norm / (norm + kClipEpsilon)));
}

absl::Status Trainer::Update(int64_t step, float gradient_scale) {
  const AdamWConfig& adamw = config_.adamw;
  const auto t = static_cast<double>(step);
  const double values[] = {LearningRate(config_.schedule, step, total_steps_),
                           adamw.beta1,
                           adamw.beta2,
                           adamw.epsilon,
                           adamw.weight_decay,
                           1.0 - std::pow(adamw.beta1, t),
                           1.0 - std::pow(adamw.beta2, t),
                           static_cast<double>(gradient_scale)};
  std::vector<float> hyper;
  for (const double value : values) hyper.push_back(static_cast<float>(value));
  CHOIR_RETURN_IF_ERROR(programs_.adamw->WriteInput(programs_.adamw_graph.hyper,
                                                    BytesOf(std::span<const float>(hyper))));
  return programs_.adamw->Run();
}

TrainMetrics Trainer::metrics() const {
  return {.steps = step_,
          .mean_loss = totals_.weight > 0 ? totals_.nll / totals_.weight : 0.0,
          .tokens = totals_.tokens,
          .examples = totals_.examples};
}

absl::StatusOr<Adapter> Trainer::CurrentAdapter() const {
  Adapter adapter = shape_;
  for (size_t i = 0; i < adapter.pairs.size(); ++i) {
    LoraPair& pair = adapter.pairs[i];
    const AdapterSlot& slot = device_adapter_.layout().slots[i];
    pair.a.resize(static_cast<size_t>(pair.rank * pair.cols));
    pair.b.resize(static_cast<size_t>(pair.rank * pair.rows));
    CHOIR_RETURN_IF_ERROR(
        device_adapter_.Read(AdapterPart::kParameters, slot.a_offset, std::span(pair.a)));
    CHOIR_RETURN_IF_ERROR(
        device_adapter_.Read(AdapterPart::kParameters, slot.b_offset, std::span(pair.b)));
  }
  return adapter;
}

absl::StatusOr<std::vector<float>> Trainer::CoreDelta() const {
  return local_terms_.CoreDelta();
}

absl::StatusOr<Adapter> Trainer::BestAdapter() const {
  if (best_parameters_.empty()) {
    return absl::FailedPreconditionError("the run has not been evaluated yet");
  }
  Adapter adapter = shape_;
  CHOIR_RETURN_IF_ERROR(Unflatten(best_parameters_, adapter));
  return adapter;
}

TrainState Trainer::StateHead() const {
  TrainState state;
  state.identity = identity_;
  state.step = step_;
  state.position = position_.Serialize();
  state.totals = totals_;
  state.evaluations = evaluations_;
  return state;
}

absl::StatusOr<std::vector<float>> Trainer::StateVector(size_t i) const {
  if (i == 1) return device_adapter_.Read(AdapterPart::kFirstMoments);
  if (i == 2) return device_adapter_.Read(AdapterPart::kSecondMoments);
  if (i == 3) return best_parameters_;
  CHOIR_ASSIGN_OR_RETURN(std::vector<float> parameters,
                         device_adapter_.Read(AdapterPart::kParameters));
  local_terms_.ToCheckpoint(parameters);
  return parameters;
}

absl::StatusOr<TrainState> Trainer::State() const {
  TrainState state = StateHead();
  state.best_parameters = best_parameters_;
  CHOIR_ASSIGN_OR_RETURN(state.parameters, StateVector(0));
  CHOIR_ASSIGN_OR_RETURN(state.first_moment, StateVector(1));
  CHOIR_ASSIGN_OR_RETURN(state.second_moment, StateVector(2));
  return state;
}

absl::Status Trainer::SaveTo(const std::string& path) const {
  if (path.empty()) return absl::OkStatus();
  const auto num_parameters = static_cast<uint64_t>(device_adapter_.layout().num_elements);
  CHOIR_RETURN_IF_ERROR(WriteTrainState(
      StateHead(), num_parameters, [this](size_t i) { return StateVector(i); }, path));
  CHOIR_FAILPOINT("trainer-saved");
  return absl::OkStatus();
}

MemoryUse Trainer::memory_use() const {
  MemoryUse total;
  for (const Executable* program :
       {programs_.train.get(), programs_.adamw.get(), programs_.norm.get()}) {
    if (program == nullptr) continue;
    total.arena_bytes += program->memory_use().arena_bytes;
    total.workspace_bytes += program->memory_use().workspace_bytes;
  }
  return total;
}

}  // namespace choir::engine
