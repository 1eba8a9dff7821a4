#include "engine/lora/peft_config.h"

#include <algorithm>
#include <cmath>
#include <optional>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/lora/lora_config.h"
#include <nlohmann/json.hpp>

namespace choir::engine {
namespace {

// Keeps the order of members: the first pattern that matches counts.
using Json = nlohmann::ordered_json;

absl::Status Bad(std::string_view key, std::string_view why) {
  return absl::InvalidArgumentError(fmt::format("adapter_config.json: {} {}", key, why));
}

// Null where it is absent.
Json Member(const Json& root, const char* key) {
  const auto found = root.find(key);
  return found == root.end() ? Json() : *found;
}

bool IsEmpty(const Json& value) {
  return value.is_null() || ((value.is_array() || value.is_object()) && value.empty());
}

absl::Status Unsupported(const char* key, const Json& value) {
  std::string shown = value.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (shown.size() > 60) shown = shown.substr(0, 60) + "...";
  return absl::UnimplementedError(
      fmt::format("adapter_config.json: {} is {}: more than W + scale * B A", key, shown));
}

// What changes the result in a way that a plain LoRA adapter cannot carry.
absl::Status CheckPlain(const Json& root) {
  for (const char* key : {"use_dora", "use_qalora", "lora_bias", "fan_in_fan_out"}) {
    const Json value = Member(root, key);
    if (!value.is_null() && value != false) return Unsupported(key, value);
  }
  for (const char* key : {"modules_to_save", "layer_replication", "target_parameters",
                          "trainable_token_indices", "alora_invocation_tokens"}) {
    const Json value = Member(root, key);
    if (!IsEmpty(value)) return Unsupported(key, value);
  }
  const Json bias = Member(root, "bias");
  if (!bias.is_null() && bias != "none") return Unsupported("bias", bias);
  // These take the first B A out of the base weights, which a GGUF of the base model has not.
  const Json init = Member(root, "init_lora_weights");
  if (init.is_string()) {
    const auto name = init.get<std::string>();
    for (const char* changes_base : {"pissa", "olora", "corda", "loftq", "lora_ga"}) {
      if (name.starts_with(changes_base)) return Unsupported("init_lora_weights", init);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<double> PositiveNumber(std::string_view key, const Json& value) {
  if (!value.is_number()) return Bad(key, "is no number");
  const auto number = value.get<double>();
  if (!std::isfinite(number) || number <= 0) return Bad(key, fmt::format("is {}", number));
  return number;
}

absl::StatusOr<int64_t> Rank(std::string_view key, const Json& value) {
  CHOIR_ASSIGN_OR_RETURN(const double rank, PositiveNumber(key, value));
  if (rank != std::floor(rank) || rank > kMaxLoraRank) {
    return Bad(key, fmt::format("is {}, not a rank of 1 to {}", rank, kMaxLoraRank));
  }
  return static_cast<int64_t>(rank);
}

absl::StatusOr<double> Dropout(const Json& value) {
  if (value.is_null()) return 0;
  if (!value.is_number()) return Bad("lora_dropout", "is no number");
  const auto rate = value.get<double>();
  if (rate >= 0 && rate <= 1) return rate;
  return Bad("lora_dropout", fmt::format("is {}, outside 0 to 1", rate));
}

// PEFT matches patterns as regular expressions. In use are names, with or without escaped dots;
// running a stranger's expression is not worth the rest.
absl::StatusOr<std::string> PlainPattern(std::string_view key, std::string pattern) {
  for (size_t at = pattern.find("\\."); at != std::string::npos; at = pattern.find("\\.", at)) {
    pattern.erase(at, 1);
  }
  const bool plain =
      !pattern.empty() && std::all_of(pattern.begin(), pattern.end(), [](unsigned char c) {
        return std::isalnum(c) != 0 || c == '_' || c == '.';
      });
  if (plain) return pattern;
  return absl::UnimplementedError(
      fmt::format("adapter_config.json: {} has a key that is more than a module's name", key));
}

template <typename Value, typename Read>
absl::Status ReadPattern(const Json& root, const char* key, Read read,
                         std::vector<std::pair<std::string, Value>>& out) {
  const Json pattern = Member(root, key);
  if (pattern.is_null()) return absl::OkStatus();
  if (!pattern.is_object()) return Bad(key, "is no object");
  for (const auto& [name, value] : pattern.items()) {
    CHOIR_ASSIGN_OR_RETURN(std::string plain, PlainPattern(key, name));
    CHOIR_ASSIGN_OR_RETURN(const Value number, read(key, value));
    out.emplace_back(std::move(plain), number);
  }
  return absl::OkStatus();
}

absl::Status ReadStrings(const Json& root, PeftConfig& config) {
  const Json targets = Member(root, "target_modules");
  if (targets.is_array()) {
    for (const Json& target : targets) {
      if (!target.is_string()) return Bad("target_modules", "holds what is no text");
      config.target_modules.push_back(target.get<std::string>());
    }
  } else if (targets.is_string()) {
    config.target_modules.push_back(targets.get<std::string>());
  } else if (!targets.is_null()) {
    return Bad("target_modules", "is no list");
  }
  const Json base = Member(root, "base_model_name_or_path");
  if (base.is_string()) config.base_model = base.get<std::string>();
  return absl::OkStatus();
}

bool Matches(std::string_view module, std::string_view pattern) {
  if (!module.ends_with(pattern)) return false;
  return module.size() == pattern.size() || module[module.size() - pattern.size() - 1] == '.';
}

template <typename Value>
Value FirstMatch(const std::vector<std::pair<std::string, Value>>& pattern, std::string_view module,
                 Value otherwise) {
  const auto found = std::find_if(pattern.begin(), pattern.end(),
                                  [&](const auto& p) { return Matches(module, p.first); });
  return found == pattern.end() ? otherwise : found->second;
}

// 16, as PEFT writes it, rather than 16.0.
Json Number(double value) {
  if (value == std::floor(value) && std::abs(value) < 1e9) return static_cast<int64_t>(value);
  return value;
}

}  // namespace

int64_t PeftConfig::RankOf(std::string_view module) const {
  return FirstMatch(rank_pattern, module, rank);
}

double PeftConfig::AlphaOf(std::string_view module) const {
  return FirstMatch(alpha_pattern, module, alpha);
}

absl::StatusOr<PeftConfig> ParsePeftConfig(std::string_view json) {
  const Json root = Json::parse(json, nullptr, false);
  if (!root.is_object()) {
    return absl::InvalidArgumentError("adapter_config.json: it is no JSON object");
  }
  if (Member(root, "peft_type") != "LORA") return Bad("peft_type", "is not \"LORA\"");
  CHOIR_RETURN_IF_ERROR(CheckPlain(root));
  PeftConfig config;
  CHOIR_ASSIGN_OR_RETURN(config.rank, Rank("r", Member(root, "r")));
  CHOIR_ASSIGN_OR_RETURN(config.alpha, PositiveNumber("lora_alpha", Member(root, "lora_alpha")));
  const Json rslora = Member(root, "use_rslora");
  if (!rslora.is_null() && !rslora.is_boolean())
    return Bad("use_rslora", "is neither true nor false");
  config.rslora = rslora == true;
  CHOIR_ASSIGN_OR_RETURN(config.dropout, Dropout(Member(root, "lora_dropout")));
  CHOIR_RETURN_IF_ERROR(ReadPattern(root, "rank_pattern", Rank, config.rank_pattern));
  CHOIR_RETURN_IF_ERROR(ReadPattern(root, "alpha_pattern", PositiveNumber, config.alpha_pattern));
  CHOIR_RETURN_IF_ERROR(ReadStrings(root, config));
  return config;
}

std::string SerializePeftConfig(const PeftConfig& config) {
  Json root = {{"alpha_pattern", Json::object()},
               {"auto_mapping", nullptr},
               {"base_model_name_or_path", nullptr},
               {"bias", "none"},
               {"eva_config", nullptr},
               {"exclude_modules", nullptr},
               {"fan_in_fan_out", false},
               {"inference_mode", true},
               {"init_lora_weights", true},
               {"layer_replication", nullptr},
               {"layers_pattern", nullptr},
               {"layers_to_transform", nullptr},
               {"loftq_config", Json::object()},
               {"lora_alpha", Number(config.alpha)},
               {"lora_bias", false},
               {"lora_dropout", Number(config.dropout)},
               {"megatron_config", nullptr},
               {"megatron_core", "megatron.core"},
               {"modules_to_save", nullptr},
               {"peft_type", "LORA"},
               {"r", config.rank},
               {"rank_pattern", Json::object()},
               {"revision", nullptr},
               {"target_modules", config.target_modules},
               {"task_type", "CAUSAL_LM"},
               {"use_dora", false},
               {"use_rslora", config.rslora}};
  if (!config.base_model.empty()) root["base_model_name_or_path"] = config.base_model;
  for (const auto& [module, rank] : config.rank_pattern) root["rank_pattern"][module] = rank;
  for (const auto& [module, alpha] : config.alpha_pattern) {
    root["alpha_pattern"][module] = Number(alpha);
  }
  return root.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace choir::engine
