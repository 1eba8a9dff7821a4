#include "engine/lora/lora_config.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/status_macros.h"

namespace choir::engine {
namespace {

std::optional<LoraModule> FindModule(std::string_view name) {
  const auto found = std::find(kLoraModuleNames.begin(), kLoraModuleNames.end(), name);
  if (found == kLoraModuleNames.end()) return std::nullopt;
  return static_cast<LoraModule>(found - kLoraModuleNames.begin());
}

// "07" and "+7" would name the same block twice.
std::optional<int64_t> ParseBlock(std::string_view digits) {
  uint32_t block = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), block);
  if (parsed.ec != std::errc() || fmt::format("{}", block) != digits) return std::nullopt;
  return block;
}

}  // namespace

absl::StatusOr<LoraModuleSet> LoraModuleSet::Parse(std::string_view text) {
  if (text == "all") return All();
  if (text == "attn") return Attention();
  LoraModuleSet out;
  for (bool more = true; more;) {
    const size_t comma = text.find(',');
    const std::string_view name = text.substr(0, comma);
    const std::optional<LoraModule> module = FindModule(name);
    if (!module.has_value()) {
      return absl::InvalidArgumentError(
          fmt::format("'{}' is no LoRA module; these are: {} (or \"all\" of a block, \"attn\")",
                      name, fmt::join(kLoraModuleNames, ", ")));
    }
    if (out.Contains(*module)) {
      return absl::InvalidArgumentError(fmt::format("the LoRA module {} stands twice", name));
    }
    out.Insert(*module);
    more = comma != std::string_view::npos;
    if (more) text.remove_prefix(comma + 1);
  }
  return out;
}

std::string LoraModuleSet::ToString() const {
  std::string out;
  for (size_t i = 0; i < kLoraModuleNames.size(); ++i) {
    if (!Contains(static_cast<LoraModule>(i))) continue;
    if (!out.empty()) out += ',';
    out += kLoraModuleNames[i];
  }
  return out;
}

absl::Status LoraConfig::Validate() const {
  if (rank < 1 || rank > kMaxLoraRank) {
    return absl::InvalidArgumentError(
        fmt::format("LoRA rank {} is outside 1 to {}", rank, kMaxLoraRank));
  }
  if (!std::isfinite(alpha) || alpha <= 0.0f) {
    return absl::InvalidArgumentError(fmt::format("LoRA alpha {} is no positive number", alpha));
  }
  if (modules.empty()) return absl::InvalidArgumentError("LoRA needs at least one module");
  return absl::OkStatus();
}

float LoraConfig::AdapterAlpha() const {
  return rslora ? alpha * std::sqrt(static_cast<float>(rank)) : alpha;
}

std::optional<LoraSite> ParseLoraSite(std::string_view tensor_name) {
  constexpr std::string_view kPrefix = "blk.";
  constexpr std::string_view kSuffix = ".weight";
  if (tensor_name == kOutputTensor) return LoraSite{LoraSite::kNoBlock, LoraModule::kOutput};
  if (tensor_name == kTokenEmbdTensor) return LoraSite{LoraSite::kNoBlock, LoraModule::kTokenEmbd};
  if (!tensor_name.starts_with(kPrefix) || !tensor_name.ends_with(kSuffix)) return std::nullopt;
  if (tensor_name.size() < kPrefix.size() + kSuffix.size()) return std::nullopt;
  tensor_name.remove_prefix(kPrefix.size());
  tensor_name.remove_suffix(kSuffix.size());
  const size_t dot = tensor_name.find('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::optional<int64_t> block = ParseBlock(tensor_name.substr(0, dot));
  const std::optional<LoraModule> module = FindModule(tensor_name.substr(dot + 1));
  if (!block.has_value() || !module.has_value() || *module >= LoraModule::kOutput) {
    return std::nullopt;
  }
  return LoraSite{*block, *module};
}

}  // namespace choir::engine
