#ifndef CHOIR_ENGINE_LORA_ADAPTER_H_
#define CHOIR_ENGINE_LORA_ADAPTER_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/lora/lora_config.h"

namespace choir::engine {

// One matrix of a base model that can be adapted: y = W x, W (rows, cols) = (out, in); of the token
// embedding, whose rows are looked up, (vocabulary, channels).
struct LoraTarget {
  std::string name;  // the base tensor: "blk.0.attn_q.weight"
  int64_t rows = 0;
  int64_t cols = 0;
};

// The low-rank update of one linear layer, row-major f32: a (rank, cols), b (rows, rank).
struct LoraPair {
  std::string name;  // of the base tensor
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t rank = 0;
  std::vector<float> a;
  std::vector<float> b;
  // Where it differs from the adapter's; 0: the adapter's.
  float alpha = 0.0f;
};

// A LoRA adapter in memory: pairs in canonical order (block, then projection in the order of
// LoraModule; then output, token_embd; other names come last, by name), each name once.
// W' = W + Scale(pair) * B A.
struct Adapter {
  std::vector<LoraPair> pairs;
  // Of the pairs that have none of their own: the scale is alpha / rank, or 1 if alpha is 0.
  float alpha = 0.0f;
  // general.architecture of the base model.
  std::string architecture;
  // The dropout that it is trained with; says nothing about what it computes.
  float dropout = 0.0f;
  // SHA-256 of the base model's file in hexadecimal; empty if not known.
  std::string base_model_sha256;

  // The alpha in effect: the pair's, else the adapter's, else the rank (a scale of 1).
  [[nodiscard]] float AlphaOf(const LoraPair& pair) const {
    if (pair.alpha != 0.0f) return pair.alpha;
    return alpha != 0.0f ? alpha : static_cast<float>(pair.rank);
  }
  [[nodiscard]] float Scale(const LoraPair& pair) const {
    return AlphaOf(pair) / static_cast<float>(pair.rank);
  }
  // Elements of all A and B.
  [[nodiscard]] uint64_t ParameterCount() const;
  // Null if there is none.
  [[nodiscard]] const LoraPair* Find(std::string_view name) const;
};

// The canonical order of base tensor names, and so of the flattened parameters.
bool CanonicalLess(std::string_view x, std::string_view y);

// True if both have the same targets, shapes and ranks in the same order.
bool SameShape(const Adapter& x, const Adapter& y);

// Checks an adapter as a whole: at least one pair, canonical order, no repeated name, sizes that
// agree, rank in 1..kMaxLoraRank, finite alpha. INVALID_ARGUMENT with the pair's name.
absl::Status ValidateAdapter(const Adapter& adapter);

// Checks that every pair fits its target: NOT_FOUND for a name that the base model lacks,
// INVALID_ARGUMENT for another shape.
absl::Status CheckAdapterFits(const Adapter& adapter, std::span<const LoraTarget> targets);

// The targets that `config` adapts, in canonical order. INVALID_ARGUMENT if there is none, or a
// projection of the configuration has no target.
absl::StatusOr<std::vector<LoraTarget>> AdapterTargetsFor(const LoraConfig& config,
                                                          std::span<const LoraTarget> targets);

// A fresh adapter: B zero, A uniform in (-1, 1) / sqrt(in) (Kaiming with a = sqrt(5)), drawn in
// canonical order from SeededRng(seed), so that all nodes of one seed start alike.
absl::StatusOr<Adapter> InitAdapter(const LoraConfig& config, std::span<const LoraTarget> targets,
                                    std::string_view architecture, uint64_t seed);

// All parameters in canonical order, A before B, each row-major: the vector that is aggregated.
std::vector<float> Flatten(const Adapter& adapter);
// The inverse, into the shape of `adapter`, which may be one without values. INVALID_ARGUMENT if
// the count differs.
absl::Status Unflatten(std::span<const float> values, Adapter& adapter);

// Names, shapes and alphas, without the values.
Adapter ShapeOf(const Adapter& adapter);

// x - y and x + factor * y, element by element, with alpha and names of x. INVALID_ARGUMENT if the
// shapes differ.
absl::StatusOr<Adapter> Subtract(const Adapter& x, const Adapter& y);
absl::Status AddScaled(Adapter& x, float factor, const Adapter& y);

// INVALID_ARGUMENT, naming the tensor, if an element is NaN or infinite.
absl::Status CheckFinite(const Adapter& adapter);
// INVALID_ARGUMENT if every A is zero: no gradient reaches B through A = 0, so such an adapter
// cannot learn. A coordinator that hands it to all nodes but one suppresses everybody else's update
// and reads that one's from the sum (gradient suppression, Pasquini et al. 2022).
absl::Status CheckNotDegenerate(const Adapter& adapter);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_ADAPTER_H_
