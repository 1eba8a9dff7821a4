#ifndef CHOIR_ENGINE_INFER_SAMPLER_H_
#define CHOIR_ENGINE_INFER_SAMPLER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "base/random.h"

namespace choir::engine {

// Chooses the next token. An implementation may keep state (a random source, a penalty's memory),
// so it serves one generation at a time.
class Sampler {
 public:
  virtual ~Sampler() = default;
  // `logits`: one f32 a vocabulary entry. `history`: the ids so far, prompt included. DATA_LOSS if
  // no logit is a number: the model's weights are damaged.
  virtual absl::StatusOr<int32_t> Sample(std::span<const float> logits,
                                         std::span<const int32_t> history) = 0;
};

// Always the likeliest token; the smaller id of two that are equal.
class GreedySampler final : public Sampler {
 public:
  absl::StatusOr<int32_t> Sample(std::span<const float> logits,
                                 std::span<const int32_t> history) override;
};

// How a token is drawn. The steps are taken in this order; each default leaves its step out.
struct SamplingOptions {
  // Logits of tokens among the last `repeat_window` are divided by this if positive and multiplied
  // if negative (Keskar et al. 2019); 1: no penalty.
  float repeat_penalty = 1.0f;
  int64_t repeat_window = 64;  // 0: none; -1: the whole history
  // Logits are divided by it; 0: the likeliest token, always.
  float temperature = 1.0f;
  // Of the likeliest tokens: so many (0: all) ...
  int64_t top_k = 0;
  // ... as few as hold this probability (Holtzman et al. 2020; 1: all) ...
  float top_p = 1.0f;
  // ... and no less likely than this part of the likeliest one (Nguyen et al. 2024; 0: all).
  float min_p = 0.0f;
  uint64_t seed = 0;
};

// INVALID_ARGUMENT names the option that is out of range.
absl::Status CheckSampling(const SamplingOptions& options);

// Draws by the options: equal options, logits and history give equal tokens, on every machine that
// computes equal logits.
class RandomSampler final : public Sampler {
 public:
  // INVALID_ARGUMENT of CheckSampling.
  static absl::StatusOr<RandomSampler> Create(const SamplingOptions& options);

  absl::StatusOr<int32_t> Sample(std::span<const float> logits,
                                 std::span<const int32_t> history) override;

 private:
  struct Candidate {
    int32_t id = 0;
    float logit = 0;
    double weight = 0;  // probability, up to a common factor
  };

  explicit RandomSampler(const SamplingOptions& options) : options_(options), rng_(options.seed) {}
  void Penalise(std::span<const int32_t> history);
  // Sorts the candidates and drops those that the options leave out; sets the weights.
  void Narrow();
  int32_t Draw();

  SamplingOptions options_;
  SeededRng rng_;
  std::vector<float> logits_;
  std::vector<Candidate> candidates_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_INFER_SAMPLER_H_
