#ifndef CHOIR_ENGINE_LORA_LORA_CONFIG_H_
#define CHOIR_ENGINE_LORA_LORA_CONFIG_H_

#include <array>
#include <compare>
#include <cstdint>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace choir::engine {

// What LoRA can adapt, in canonical order: the projections of a block, then the two matrices over
// the vocabulary, of which a model has one each.
enum class LoraModule : uint8_t {
  kAttnQ,
  kAttnK,
  kAttnV,
  kAttnOutput,
  kFfnGate,
  kFfnUp,
  kFfnDown,
  kOutput,
  kTokenEmbd,
};
inline constexpr std::array<std::string_view, 9> kLoraModuleNames = {
    "attn_q", "attn_k",   "attn_v", "attn_output", "ffn_gate",
    "ffn_up", "ffn_down", "output", "token_embd"};
// Those of a block.
inline constexpr std::span<const std::string_view> kBlockModuleNames =
    std::span(kLoraModuleNames).first<7>();

// A set of them.
class LoraModuleSet {
 public:
  constexpr LoraModuleSet() = default;
  static constexpr LoraModuleSet All() { return LoraModuleSet(0x7f); }
  static constexpr LoraModuleSet Attention() { return LoraModuleSet(0x0f); }
  // A comma-separated list of names, or "all" (of a block), or "attn". INVALID_ARGUMENT for an
  // unknown, empty or repeated name, listing those that there are.
  static absl::StatusOr<LoraModuleSet> Parse(std::string_view text);

  constexpr void Insert(LoraModule module) { bits_ = static_cast<uint16_t>(bits_ | Bit(module)); }
  [[nodiscard]] constexpr bool Contains(LoraModule module) const {
    return (bits_ & Bit(module)) != 0;
  }
  [[nodiscard]] constexpr bool empty() const { return bits_ == 0; }
  // Names in canonical order, separated by commas: what Parse reads.
  [[nodiscard]] std::string ToString() const;
  friend bool operator==(const LoraModuleSet&, const LoraModuleSet&) = default;

 private:
  explicit constexpr LoraModuleSet(uint16_t bits) : bits_(bits) {}
  static constexpr uint16_t Bit(LoraModule module) {
    return static_cast<uint16_t>(1u << static_cast<uint8_t>(module));
  }
  uint16_t bits_ = 0;
};

// Above this no adapter is trained or read: real ones stay below 512.
inline constexpr int kMaxLoraRank = 4096;

// The largest dropout that is trained with; at 1 nothing would be left.
inline constexpr float kMaxLoraDropout = 0.99f;

// What to adapt and how strongly: W' = W + scale * B A, with A (rank, in) and B (out, rank).
// Hu et al. 2021; rsLoRA: Kalajdzievski 2023.
struct LoraConfig {
  int rank = 8;
  float alpha = 16.0f;
  LoraModuleSet modules = LoraModuleSet::All();
  // scale = alpha / sqrt(rank) instead of alpha / rank.
  bool rslora = false;

  // INVALID_ARGUMENT for a rank outside 1..kMaxLoraRank, an alpha that is not finite and positive,
  // no module.
  [[nodiscard]] absl::Status Validate() const;
  // The alpha that an adapter file carries: readers compute alpha / rank, so rsLoRA's is multiplied
  // by sqrt(rank).
  [[nodiscard]] float AdapterAlpha() const;
};

// The block number and projection of "blk.12.ffn_up.weight"; for "output.weight" and
// "token_embd.weight" kNoBlock; nothing for any other name.
struct LoraSite {
  // After all blocks.
  static constexpr int64_t kNoBlock = std::numeric_limits<int64_t>::max();
  int64_t block = 0;
  LoraModule module = LoraModule::kAttnQ;
  friend auto operator<=>(const LoraSite&, const LoraSite&) = default;
};
std::optional<LoraSite> ParseLoraSite(std::string_view tensor_name);

inline constexpr std::string_view kOutputTensor = "output.weight";
inline constexpr std::string_view kTokenEmbdTensor = "token_embd.weight";
// Why a model that lacks output.weight has neither as a target.
inline constexpr std::string_view kTiedOutputReason =
    "the model's output is tied to token_embd.weight: one matrix serves twice, and tools disagree "
    "on which use an adapter changes";

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_LORA_CONFIG_H_
