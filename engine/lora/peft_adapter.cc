#include "engine/lora/peft_adapter.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <filesystem>
#include <map>
#include <optional>
#include <system_error>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "engine/lora/peft_config.h"
#include "engine/lora/safetensors.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr std::string_view kConfigFile = "adapter_config.json";
constexpr std::string_view kTensorsFile = "adapter_model.safetensors";
constexpr std::string_view kPrefix = "base_model.model.";
constexpr std::string_view kSuffixA = ".lora_A.weight";
constexpr std::string_view kSuffixB = ".lora_B.weight";
// Of lookups (torch.nn.Embedding).
constexpr std::string_view kLookupSuffixA = ".lora_embedding_A";
constexpr std::string_view kLookupSuffixB = ".lora_embedding_B";
// PEFT saves the base model's own matrices beside an adapter of lm_head or embed_tokens.
constexpr std::string_view kBaseSuffix = ".base_layer.weight";
// Kept among the tensors' metadata, which PEFT ignores.
constexpr const char* kBaseModelKey = "choir.base_model.sha256";
// Real ones have a few kilobytes; a pattern for each module of a large model stays below this.
constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 20;

struct Factors {
  const SafetensorsTensor* a = nullptr;
  const SafetensorsTensor* b = nullptr;
  bool is_lookup = false;
};

struct FactorName {
  std::string module;
  bool is_a = false;
  bool is_lookup = false;
};

// Of "base_model.model.<module><suffix>"; nothing for another name.
std::optional<FactorName> ParseFactorName(std::string_view name) {
  if (!name.starts_with(kPrefix)) return std::nullopt;
  name.remove_prefix(kPrefix.size());
  for (const std::string_view suffix : {kSuffixA, kSuffixB, kLookupSuffixA, kLookupSuffixB}) {
    if (!name.ends_with(suffix) || name.size() == suffix.size()) continue;
    return FactorName{.module = std::string(name.substr(0, name.size() - suffix.size())),
                      .is_a = suffix == kSuffixA || suffix == kLookupSuffixA,
                      .is_lookup = suffix == kLookupSuffixA || suffix == kLookupSuffixB};
  }
  return std::nullopt;
}

// A and B by their module: "model.layers.0.self_attn.q_proj".
absl::StatusOr<std::map<std::string, Factors>> CollectFactors(const SafetensorsFile& file) {
  std::map<std::string, Factors> out;
  for (const SafetensorsTensor& tensor : file.tensors()) {
    if (tensor.name.ends_with(kBaseSuffix)) continue;
    const std::optional<FactorName> name = ParseFactorName(tensor.name);
    if (!name.has_value()) {
      return absl::InvalidArgumentError(
          fmt::format("adapter: the tensor {} is not {}<module>{} or {}", tensor.name, kPrefix,
                      kSuffixA, kSuffixB));
    }
    Factors& factors = out[name->module];
    (name->is_a ? factors.a : factors.b) = &tensor;
    factors.is_lookup = name->is_lookup;
  }
  return out;
}

absl::Status CheckShapes(const std::string& module, const Factors& factors, int64_t rank) {
  if (factors.a == nullptr || factors.b == nullptr) {
    return absl::InvalidArgumentError(fmt::format("adapter: {}{} is missing", module,
                                                  factors.a == nullptr ? kSuffixA : kSuffixB));
  }
  const SafetensorsTensor& a = *factors.a;
  const SafetensorsTensor& b = *factors.b;
  const auto wanted = static_cast<uint64_t>(rank);
  if (a.num_dims == 2 && b.num_dims == 2 && a.shape[0] == wanted && b.shape[1] == wanted) {
    return absl::OkStatus();
  }
  return absl::InvalidArgumentError(
      fmt::format("adapter: {} has A {} and B {}, not [{}, in] and [out, {}] as its configuration "
                  "says",
                  module, a.ShapeString(), b.ShapeString(), rank, rank));
}

absl::StatusOr<std::vector<float>> LoadFactor(const SafetensorsTensor& tensor) {
  constexpr std::string_view kDtypes[] = {"F32", "F16", "BF16"};
  const bool readable =
      std::find(std::begin(kDtypes), std::end(kDtypes), tensor.dtype) != std::end(kDtypes);
  const WeightFormat* format = readable ? FindWeightFormat(tensor.dtype) : nullptr;
  if (format == nullptr) {
    return absl::InvalidArgumentError(fmt::format("adapter: {} is {}; {} can be read", tensor.name,
                                                  tensor.dtype, fmt::join(kDtypes, ", ")));
  }
  // Memory in proportion to bytes that are there: the tensor lies within the file.
  std::vector<float> out(tensor.bytes.size() / format->block_bytes);
  format->dequantize_row(tensor.bytes, out);
  return out;
}

float AlphaIn(const PeftConfig& config, double alpha, int64_t rank) {
  // Choir divides by the rank.
  return static_cast<float>(config.rslora ? alpha * std::sqrt(static_cast<double>(rank)) : alpha);
}

absl::StatusOr<LoraPair> LoadPair(const std::string& module, const Factors& factors,
                                  const PeftConfig& config, const PeftBase& base,
                                  float adapter_alpha) {
  const std::optional<std::string> name = BaseTensorName(module);
  if (!name.has_value()) {
    return absl::InvalidArgumentError(fmt::format(
        "adapter: {} is none of what can be adapted: q_proj, k_proj, v_proj, o_proj, gate_proj, "
        "up_proj and down_proj of a block, lm_head, embed_tokens",
        module));
  }
  if (factors.is_lookup != IsLookup(*name)) {
    return absl::InvalidArgumentError(
        fmt::format("adapter: {} has {} of a lookup", module,
                    factors.is_lookup ? "the tensors" : "not the tensors"));
  }
  LoraPair pair;
  pair.name = *name;
  pair.rank = config.RankOf(module);
  CHOIR_RETURN_IF_ERROR(CheckShapes(module, factors, pair.rank));
  const auto out = static_cast<int64_t>(factors.b->shape[0]);
  const auto in = static_cast<int64_t>(factors.a->shape[1]);
  const float alpha = AlphaIn(config, config.AlphaOf(module), pair.rank);
  if (alpha != adapter_alpha) pair.alpha = alpha;
  CHOIR_ASSIGN_OR_RETURN(pair.a, LoadFactor(*factors.a));
  CHOIR_ASSIGN_OR_RETURN(pair.b, LoadFactor(*factors.b));
  if (factors.is_lookup) {
    const std::vector<float> channels = Transposed(pair.b, out, pair.rank);
    pair.b = Transposed(pair.a, pair.rank, in);
    pair.a = channels;
  }
  pair.rows = factors.is_lookup ? in : out;
  pair.cols = factors.is_lookup ? out : in;
  CHOIR_RETURN_IF_ERROR(RowsToGguf(base, pair));
  return pair;
}

absl::StatusOr<Adapter> MakeAdapter(std::string_view config_json, const SafetensorsFile& file,
                                    const PeftBase& base) {
  CHOIR_ASSIGN_OR_RETURN(const PeftConfig config, ParsePeftConfig(config_json));
  CHOIR_ASSIGN_OR_RETURN(const auto modules, CollectFactors(file));
  Adapter adapter;
  adapter.architecture = base.architecture;
  adapter.alpha = AlphaIn(config, config.alpha, config.rank);
  adapter.dropout = static_cast<float>(config.dropout);
  if (const auto found = file.metadata().find(kBaseModelKey); found != file.metadata().end()) {
    adapter.base_model_sha256 = found->second;
  }
  for (const auto& [module, factors] : modules) {
    CHOIR_ASSIGN_OR_RETURN(LoraPair pair, LoadPair(module, factors, config, base, adapter.alpha));
    adapter.pairs.push_back(std::move(pair));
  }
  std::sort(adapter.pairs.begin(), adapter.pairs.end(),
            [](const LoraPair& x, const LoraPair& y) { return CanonicalLess(x.name, y.name); });
  CHOIR_RETURN_IF_ERROR(ValidateAdapter(adapter));
  return adapter;
}

// "q_proj" where every layer has it, as people write it; else each module by its full name, or
// PEFT would adapt layers that the adapter leaves alone.
std::vector<std::string> TargetModules(const Adapter& adapter, int64_t num_layers) {
  std::map<LoraModule, int64_t> layers;
  for (const LoraPair& pair : adapter.pairs) ++layers[ParseLoraSite(pair.name)->module];
  const bool uniform = std::all_of(layers.begin(), layers.end(), [&](const auto& entry) {
    return entry.second == num_layers || entry.first >= LoraModule::kOutput;
  });
  std::vector<std::string> out;
  for (const LoraPair& pair : adapter.pairs) {
    std::string module = *PeftModuleName(pair.name);
    if (uniform) module = module.substr(module.rfind('.') + 1);
    if (std::find(out.begin(), out.end(), module) == out.end()) out.push_back(std::move(module));
  }
  return out;
}

// 0.05 for the float nearest to it, not 0.0500000007.
double ShortestDouble(float value) {
  const std::string digits = fmt::format("{}", value);
  double out = 0;
  std::from_chars(digits.data(), digits.data() + digits.size(), out);
  return out;
}

absl::StatusOr<PeftConfig> ConfigOf(const Adapter& adapter, const PeftBase& base) {
  PeftConfig config;
  config.rank = adapter.pairs.front().rank;
  const float alpha = adapter.AlphaOf(adapter.pairs.front());
  config.alpha = static_cast<double>(alpha);
  config.base_model = base.name;
  config.dropout = ShortestDouble(adapter.dropout);
  for (const LoraPair& pair : adapter.pairs) {
    const std::optional<std::string> module = PeftModuleName(pair.name);
    if (!module.has_value()) {
      return absl::InvalidArgumentError(
          fmt::format("adapter: {} has no name in a PEFT folder", pair.name));
    }
    const float own = adapter.AlphaOf(pair);
    if (own <= 0) {
      return absl::InvalidArgumentError(
          fmt::format("adapter: {} has alpha {}; PEFT's is positive", pair.name, own));
    }
    if (pair.rank != config.rank) config.rank_pattern.emplace_back(*module, pair.rank);
    if (own != alpha) config.alpha_pattern.emplace_back(*module, static_cast<double>(own));
  }
  config.target_modules = TargetModules(adapter, base.num_layers);
  return config;
}

absl::Status WithPath(const absl::Status& status, const std::string& path) {
  return absl::Status(status.code(), fmt::format("{}: {}", path, std::string(status.message())));
}

}  // namespace

absl::StatusOr<Adapter> ParsePeftAdapter(std::string_view config_json,
                                         std::span<const uint8_t> safetensors,
                                         const PeftBase& base) {
  CHOIR_ASSIGN_OR_RETURN(const SafetensorsFile file, SafetensorsFile::Parse(safetensors));
  return MakeAdapter(config_json, file, base);
}

absl::StatusOr<Adapter> ReadPeftAdapter(const std::string& folder, const PeftBase& base) {
  CHOIR_ASSIGN_OR_RETURN(const std::string config,
                         ReadFile(fmt::format("{}/{}", folder, kConfigFile), kMaxConfigBytes));
  const std::string tensors_path = fmt::format("{}/{}", folder, kTensorsFile);
  const absl::StatusOr<SafetensorsFile> file = SafetensorsFile::Open(tensors_path);
  if (!file.ok()) return WithPath(file.status(), tensors_path);
  absl::StatusOr<Adapter> adapter = MakeAdapter(config, *file, base);
  if (!adapter.ok()) return WithPath(adapter.status(), folder);
  return adapter;
}

absl::Status WritePeftAdapter(const Adapter& adapter, const PeftBase& base,
                              const std::string& folder) {
  CHOIR_RETURN_IF_ERROR(ValidateAdapter(adapter));
  CHOIR_ASSIGN_OR_RETURN(const PeftConfig config, ConfigOf(adapter, base));
  std::vector<LoraPair> pairs = adapter.pairs;  // the tensors borrow from it
  std::map<std::string, SafetensorsOutput> tensors;
  for (LoraPair& pair : pairs) {
    CHOIR_RETURN_IF_ERROR(RowsToPeft(base, pair));
    const std::string module = fmt::format("{}{}", kPrefix, *PeftModuleName(pair.name));
    const auto rank = static_cast<uint64_t>(pair.rank);
    if (IsLookup(pair.name)) {
      const std::vector<float> channels = Transposed(pair.a, pair.rank, pair.cols);
      pair.a = Transposed(pair.b, pair.rows, pair.rank);
      pair.b = channels;
      tensors[fmt::format("{}{}", module, kLookupSuffixA)] = {
          {rank, static_cast<uint64_t>(pair.rows)}, pair.a};
      tensors[fmt::format("{}{}", module, kLookupSuffixB)] = {
          {static_cast<uint64_t>(pair.cols), rank}, pair.b};
      continue;
    }
    tensors[fmt::format("{}{}", module, kSuffixA)] = {{rank, static_cast<uint64_t>(pair.cols)},
                                                      pair.a};
    tensors[fmt::format("{}{}", module, kSuffixB)] = {{static_cast<uint64_t>(pair.rows), rank},
                                                      pair.b};
  }
  std::map<std::string, std::string> metadata = {{"format", "pt"}};
  if (!adapter.base_model_sha256.empty()) metadata[kBaseModelKey] = adapter.base_model_sha256;
  CHOIR_RETURN_IF_ERROR(MakeDirectories(folder));
  CHOIR_RETURN_IF_ERROR(
      WriteSafetensors(tensors, metadata, fmt::format("{}/{}", folder, kTensorsFile)));
  return AtomicWriteFile(fmt::format("{}/{}", folder, kConfigFile), SerializePeftConfig(config));
}

absl::StatusOr<Adapter> ReadAdapter(const std::string& path, const PeftBase& base,
                                    AdapterReadReport* report) {
  std::error_code error;
  if (std::filesystem::is_directory(path, error)) return ReadPeftAdapter(path, base);
  return ReadGgufAdapter(path, report);
}

}  // namespace choir::engine
