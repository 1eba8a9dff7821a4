#include "engine/lora/peft_modules.h"

#include <algorithm>
#include <array>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "engine/lora/lora_config.h"

namespace choir::engine {
namespace {

// In the order of LoraModule.
constexpr std::array<std::string_view, kBlockModuleNames.size()> kPeftModuleNames = {
    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj", "self_attn.o_proj",
    "mlp.gate_proj",    "mlp.up_proj",      "mlp.down_proj"};
constexpr std::string_view kLayerPrefixes[] = {"model.layers.", "model.language_model.layers.",
                                               "language_model.model.layers."};
constexpr std::string_view kHeadNames[] = {"lm_head", "language_model.lm_head"};
constexpr std::string_view kLookupNames[] = {
    "model.embed_tokens", "model.language_model.embed_tokens", "language_model.model.embed_tokens"};

// The row in Hugging Face's order that stands at `row` in GGUF's: within a head of 2n rows, row
// 2i + j comes from row n j + i.
int64_t PeftRow(int64_t row, int64_t head_rows) {
  const int64_t head = row / head_rows;
  const int64_t within = row % head_rows;
  return head * head_rows + (within % 2) * (head_rows / 2) + within / 2;
}

// 0 if the rows stay as they are.
absl::StatusOr<int64_t> ReorderedHeadRows(const PeftBase& base, const LoraPair& pair) {
  const std::optional<LoraSite> site = ParseLoraSite(pair.name);
  const bool is_q = site.has_value() && site->module == LoraModule::kAttnQ;
  const bool is_k = site.has_value() && site->module == LoraModule::kAttnK;
  if (!base.reorders_heads || !(is_q || is_k)) return 0;
  const int64_t heads = is_q ? base.num_heads : base.num_kv_heads;
  if (heads < 1 || pair.rows % (2 * heads) != 0) {
    return absl::InvalidArgumentError(
        fmt::format("adapter: {} has {} rows, which are not {} heads of the base model", pair.name,
                    pair.rows, heads));
  }
  return pair.rows / heads;
}

absl::Status Reorder(const PeftBase& base, bool to_gguf, LoraPair& pair) {
  const absl::StatusOr<int64_t> head_rows = ReorderedHeadRows(base, pair);
  if (!head_rows.ok()) return head_rows.status();
  if (*head_rows == 0) return absl::OkStatus();
  std::vector<float> out(pair.b.size());
  for (int64_t row = 0; row < pair.rows; ++row) {
    const int64_t peft_row = PeftRow(row, *head_rows);
    const int64_t from = to_gguf ? peft_row : row;
    const int64_t to = to_gguf ? row : peft_row;
    std::copy_n(pair.b.begin() + from * pair.rank, pair.rank, out.begin() + to * pair.rank);
  }
  pair.b = std::move(out);
  return absl::OkStatus();
}

}  // namespace

std::optional<std::string> PeftModuleName(std::string_view base_tensor) {
  const std::optional<LoraSite> site = ParseLoraSite(base_tensor);
  if (!site.has_value()) return std::nullopt;
  if (site->module == LoraModule::kOutput) return std::string(kHeadNames[0]);
  if (site->module == LoraModule::kTokenEmbd) return std::string(kLookupNames[0]);
  return fmt::format("{}{}.{}", kLayerPrefixes[0], site->block,
                     kPeftModuleNames[static_cast<size_t>(site->module)]);
}

std::optional<std::string> BaseTensorName(std::string_view peft_module) {
  if (std::ranges::find(kHeadNames, peft_module) != std::end(kHeadNames)) {
    return std::string(kOutputTensor);
  }
  if (std::ranges::find(kLookupNames, peft_module) != std::end(kLookupNames)) {
    return std::string(kTokenEmbdTensor);
  }
  for (const std::string_view prefix : kLayerPrefixes) {
    if (!peft_module.starts_with(prefix)) continue;
    const std::string_view rest = peft_module.substr(prefix.size());
    const size_t dot = rest.find('.');
    if (dot == std::string_view::npos) return std::nullopt;
    const auto module =
        std::find(kPeftModuleNames.begin(), kPeftModuleNames.end(), rest.substr(dot + 1));
    if (module == kPeftModuleNames.end()) return std::nullopt;
    std::string name =
        fmt::format("blk.{}.{}.weight", rest.substr(0, dot),
                    kLoraModuleNames[static_cast<size_t>(module - kPeftModuleNames.begin())]);
    // ParseLoraSite also refuses block numbers that are none.
    if (!ParseLoraSite(name).has_value()) return std::nullopt;
    return name;
  }
  return std::nullopt;
}

bool IsLookup(std::string_view base_tensor) {
  return base_tensor == kTokenEmbdTensor;
}

std::vector<float> Transposed(std::span<const float> values, int64_t rows, int64_t cols) {
  std::vector<float> out(values.size());
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t col = 0; col < cols; ++col) {
      out[static_cast<size_t>(col * rows + row)] = values[static_cast<size_t>(row * cols + col)];
    }
  }
  return out;
}

absl::Status RowsToGguf(const PeftBase& base, LoraPair& pair) {
  return Reorder(base, true, pair);
}

absl::Status RowsToPeft(const PeftBase& base, LoraPair& pair) {
  return Reorder(base, false, pair);
}

}  // namespace choir::engine
