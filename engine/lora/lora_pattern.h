#ifndef CHOIR_ENGINE_LORA_LORA_PATTERN_H_
#define CHOIR_ENGINE_LORA_LORA_PATTERN_H_

// Ranks and alphas that differ from layer to layer: PEFT's rank_pattern and alpha_pattern, over
// GGUF's names.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/lora/adapter.h"
#include "engine/lora/lora_config.h"

namespace choir::engine {

// Values for some layers; the first entry that matches counts.
class LoraPattern {
 public:
  // "attn_q=16,blk.0=4,blk.1.ffn_up=2": a projection, a block, or one projection of a block, each
  // with its value. An empty text is an empty pattern. INVALID_ARGUMENT names the entry that is
  // none, or whose value is not finite and positive.
  static absl::StatusOr<LoraPattern> Parse(std::string_view text);

  [[nodiscard]] bool empty() const { return entries_.empty(); }
  // For the tensor "blk.0.attn_q.weight".
  [[nodiscard]] std::optional<double> Find(std::string_view tensor_name) const;
  // INVALID_ARGUMENT names an entry that matches no target: a slip of the pen.
  [[nodiscard]] absl::Status CheckUsed(std::span<const LoraTarget> targets) const;

 private:
  struct Entry {
    std::optional<int64_t> block;
    std::optional<LoraModule> module;
    double value = 0;
    std::string text;  // as given, for messages

    [[nodiscard]] bool Matches(const LoraSite& site) const;
  };
  static absl::StatusOr<Entry> ParseEntry(std::string_view text);

  std::vector<Entry> entries_;
};

// InitAdapter with ranks and alphas of their own for some layers. With rsLoRA, each scale is alpha
// / sqrt(rank) of its layer. Also INVALID_ARGUMENT: an entry that matches nothing, a rank that is
// no whole number of 1 to kMaxLoraRank.
absl::StatusOr<Adapter> InitAdapter(const LoraConfig& config, const LoraPattern& ranks,
                                    const LoraPattern& alphas, std::span<const LoraTarget> targets,
                                    std::string_view architecture, uint64_t seed);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_LORA_PATTERN_H_
