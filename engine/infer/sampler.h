#ifndef CHOIR_ENGINE_INFER_SAMPLER_H_
#define CHOIR_ENGINE_INFER_SAMPLER_H_

#include <cstdint>
#include <span>

#include "absl/status/statusor.h"

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

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_INFER_SAMPLER_H_
