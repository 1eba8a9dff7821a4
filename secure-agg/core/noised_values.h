#ifndef CHOIR_SECURE_AGG_CORE_NOISED_VALUES_H_
#define CHOIR_SECURE_AGG_CORE_NOISED_VALUES_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "base/random.h"
#include "base/secret.h"
#include "privacy/noise_plan.h"
#include "secure-agg/core/masking.h"

// The words of one node under differential privacy: rounded so that their norm has a bound, and,
// with a distributed mechanism, with the node's part of the noise.
namespace choir::secagg {

// A key's stream as a source of random bytes: the same key gives the same numbers, so that a node
// that was killed makes the same words again.
class StreamSource final : public RandomSource {
 public:
  explicit StreamSource(const SecretBytes<32>& key) : stream_(Prg::kChaCha20, key) {}
  void Fill(std::span<uint8_t> out) override { stream_.Next(out); }

 private:
  MaskStream stream_;
};

// plan.noised_words words: the rounded delta * factor, and the clip bit if the plan has one (minus
// clip_bit if `clipped`). `factor` scales the delta to a norm of at most S; the plan's scale comes
// on top. Without noise. kBadValues if no rounding keeps the norm's bound (a chance of 2^-90).
absl::StatusOr<std::vector<int64_t>> RoundedWords(const privacy::NoisePlan& plan,
                                                  std::span<const float> delta, double factor,
                                                  bool clipped, RandomSource& random);

// Adds noise of `deviation` grid steps to each word: of the plan's mechanism, or the discrete
// Gaussian for the central one.
void AddNoise(const privacy::NoisePlan& plan, double deviation, RandomSource& random,
              std::span<int64_t> words);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_NOISED_VALUES_H_
