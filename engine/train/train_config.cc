#include "engine/train/train_config.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <span>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/lora/lora_config.h"
#include "engine/ops/dropout_mask.h"

namespace choir::engine {
namespace {

// Far above what any device holds; keeps products of sizes within 64 bits.
constexpr int64_t kMaxContextTokens = 1 << 20;
constexpr int64_t kMaxMicroBatches = 1 << 16;
constexpr int64_t kMaxSteps = int64_t{1} << 40;
constexpr double kMaxEpochs = 1e6;

absl::Status CheckRange(std::string_view what, double value, double low, double high) {
  if (value >= low && value <= high) return absl::OkStatus();  // false for NaN
  return absl::InvalidArgumentError(
      fmt::format("{} of {} is outside {}..{}", what, value, low, high));
}

}  // namespace

Digest TrainConfig::ContentDigest() const {
  Sha256 hash;
  hash.Update(std::string_view("choir/train-config/v2"));
  const auto add = [&hash](double value) { hash.UpdateU64(std::bit_cast<uint64_t>(value)); };
  hash.UpdateU64(static_cast<uint64_t>(steps));
  add(epochs);
  hash.UpdateU64(static_cast<uint64_t>(context_tokens));
  hash.UpdateU64(static_cast<uint64_t>(micro_batches));
  add(schedule.peak);
  hash.UpdateU64(static_cast<uint64_t>(schedule.warmup_steps));
  hash.UpdateU64(static_cast<uint64_t>(schedule.decay));
  add(schedule.final_ratio);
  add(adamw.beta1);
  add(adamw.beta2);
  add(adamw.epsilon);
  add(adamw.weight_decay);
  add(max_gradient_norm);
  hash.UpdateU64(static_cast<uint64_t>(factors));
  hash.UpdateU64(static_cast<uint64_t>(compute));
  if (lora_dropout > 0) {
    add(lora_dropout);
    hash.UpdateU64(dropout_seed);
  }
  if (proximal_mu > 0) {
    hash.Update(std::string_view("proximal"));
    add(proximal_mu);
  }
  if (!window.IsAll()) {
    hash.Update(std::string_view("window"));
    for (const int64_t value : {window.first, window.count, window.of}) {
      hash.UpdateU64(static_cast<uint64_t>(value));
    }
  }
  hash.UpdateU64(static_cast<uint64_t>(evaluation.every_steps));
  hash.UpdateU64(static_cast<uint64_t>(evaluation.patience));
  hash.Update(std::span<const uint8_t>(evaluation.held_out));
  return hash.Finish();
}

absl::Status ValidateTrainConfig(const TrainConfig& config) {
  if (config.steps == 0) {
    if (!(config.epochs > 0 && config.epochs <= kMaxEpochs)) {
      return absl::InvalidArgumentError(
          fmt::format("{} epochs are outside 0..{} (0 excluded)", config.epochs, kMaxEpochs));
    }
  }
  const auto as_double = [](int64_t value) { return static_cast<double>(value); };
  CHOIR_RETURN_IF_ERROR(CheckRange("steps", as_double(config.steps), 0, as_double(kMaxSteps)));
  CHOIR_RETURN_IF_ERROR(CheckRange("a context (tokens)", as_double(config.context_tokens), 1,
                                   as_double(kMaxContextTokens)));
  CHOIR_RETURN_IF_ERROR(CheckRange("a batch (micro-batches)", as_double(config.micro_batches), 1,
                                   as_double(kMaxMicroBatches)));
  CHOIR_RETURN_IF_ERROR(CheckRange("steps between evaluations",
                                   as_double(config.evaluation.every_steps), 0,
                                   as_double(kMaxSteps)));
  CHOIR_RETURN_IF_ERROR(CheckRange("a patience (evaluations)",
                                   as_double(config.evaluation.patience), 0, as_double(kMaxSteps)));
  CHOIR_RETURN_IF_ERROR(CheckRange("beta1", config.adamw.beta1, 0, 0.999999));
  CHOIR_RETURN_IF_ERROR(CheckRange("beta2", config.adamw.beta2, 0, 0.99999999));
  CHOIR_RETURN_IF_ERROR(CheckRange("epsilon", config.adamw.epsilon, 1e-30, 1));
  CHOIR_RETURN_IF_ERROR(CheckRange("weight decay", config.adamw.weight_decay, 0, 100));
  CHOIR_RETURN_IF_ERROR(CheckRange("a largest gradient norm", config.max_gradient_norm, 0, 1e30));
  static_assert(static_cast<double>(kMaxLoraDropout) == kMaxDropout);
  CHOIR_RETURN_IF_ERROR(CheckRange("LoRA dropout", config.lora_dropout, 0, kMaxDropout));
  CHOIR_RETURN_IF_ERROR(CheckRange("a proximal mu", config.proximal_mu, 0, 1e6));
  const ComponentWindow& window = config.window;
  if (window.count < 0 || (window.count > 0 && (window.first < 0 || window.first >= window.of))) {
    return absl::InvalidArgumentError(
        fmt::format("a window of {} components from {} on does not lie in {}", window.count,
                    window.first, window.of));
  }
  return ValidateSchedule(config.schedule);
}

int64_t TotalSteps(const TrainConfig& config, uint64_t micro_batches_in_epoch) {
  if (config.steps > 0) return config.steps;
  const double micro_batches = config.epochs * static_cast<double>(micro_batches_in_epoch);
  const double steps = std::ceil(micro_batches / static_cast<double>(config.micro_batches));
  return std::max<int64_t>(1,
                           static_cast<int64_t>(std::min(steps, static_cast<double>(kMaxSteps))));
}

}  // namespace choir::engine
