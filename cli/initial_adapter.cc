#include "cli/initial_adapter.h"

#include <algorithm>
#include <cmath>
#include <string>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/engine_session.h"
#include "cli/failure.h"

namespace choir::cli {
namespace {

engine::LoraConfig LoraConfigOf(const v1::LoraSpec& spec) {
  engine::LoraConfig config;
  config.rank = static_cast<int>(spec.rank());
  config.alpha = spec.alpha();
  config.rslora = spec.rslora();
  config.modules = {};
  for (size_t i = 0; i < engine::kLoraModuleNames.size(); ++i) {
    for (const std::string& module : spec.modules()) {
      if (module == engine::kLoraModuleNames[i]) {
        config.modules.Insert(static_cast<engine::LoraModule>(i));
      }
    }
  }
  return config;
}

engine::LoraModuleSet ModulesOf(const engine::Adapter& adapter) {
  engine::LoraModuleSet modules;
  for (const engine::LoraPair& pair : adapter.pairs) {
    if (const auto site = engine::ParseLoraSite(pair.name)) modules.Insert(site->module);
  }
  return modules;
}

std::string Describe(int64_t rank, float alpha, const engine::LoraModuleSet& modules) {
  return fmt::format("rank {}, alpha {}, modules {}", rank, alpha, modules.ToString());
}

// What [lora] says must be what the operator's adapter is, layer by layer.
absl::Status CheckAsked(const RunFile& file, const engine::Model& model,
                        const engine::Adapter& adapter) {
  const engine::LoraConfig asked = LoraConfigOf(file.config.lora());
  const absl::StatusOr<engine::Adapter> wanted =
      engine::InitAdapter(asked, model.LoraTargets(), model.spec().architecture, 0);
  if (!wanted.ok()) return UsageError(fmt::format("[lora]: {}", MessageOf(wanted.status())));
  const engine::LoraPair& first = adapter.pairs.front();
  const float alpha = adapter.AlphaOf(first);
  const bool same_alpha = std::abs(asked.AdapterAlpha() - alpha) <= 1e-6f * alpha;
  if (SameShape(*wanted, adapter) && same_alpha) return absl::OkStatus();
  return UsageError(
      fmt::format("{} has {}; [lora] asks for {}{}", file.initial_adapter_path,
                  Describe(first.rank, alpha, ModulesOf(adapter)),
                  Describe(asked.rank, asked.alpha, asked.modules), asked.rslora ? ", rslora" : ""),
      "leave rank, alpha, rslora and modules out of [lora]: the run takes those of the adapter");
}

void DescribeIn(const engine::Adapter& adapter, v1::LoraSpec& spec) {
  const engine::LoraPair& first = adapter.pairs.front();
  spec.set_rank(static_cast<uint32_t>(first.rank));
  spec.set_alpha(adapter.AlphaOf(first));
  spec.set_rslora(false);  // what it adds is part of the file's alpha
  spec.clear_modules();
  const engine::LoraModuleSet modules = ModulesOf(adapter);
  for (size_t i = 0; i < engine::kLoraModuleNames.size(); ++i) {
    if (modules.Contains(static_cast<engine::LoraModule>(i))) {
      spec.add_modules(std::string(engine::kLoraModuleNames[i]));
    }
  }
}

absl::StatusOr<engine::Adapter> OperatorsOwn(const RunFile& file, const engine::Model& model,
                                             const Digest& model_digest, v1::LoraSpec& spec,
                                             Output& output) {
  const std::string& path = file.initial_adapter_path;
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter adapter, ReadAdapterFor(model, path));
  if (const absl::Status able = engine::CheckNotDegenerate(adapter); !able.ok()) {
    return BadInput("adapter", path, able);
  }
  if (file.lora_shape_given) CHOIR_RETURN_IF_ERROR(CheckAsked(file, model, adapter));
  if (!adapter.base_model_sha256.empty() &&
      adapter.base_model_sha256 != DigestToHex(model_digest)) {
    output.Warning(fmt::format("{} was made for another base model file (SHA-256 {}...)", path,
                               adapter.base_model_sha256.substr(0, 12)));
  }
  DescribeIn(adapter, spec);
  if (!file.lora_dropout_given) {
    spec.set_dropout(std::min(adapter.dropout, engine::kMaxLoraDropout));
  }
  return adapter;
}

}  // namespace

absl::StatusOr<engine::Adapter> InitialAdapter(const RunFile& file, const engine::Model& model,
                                               const Digest& model_digest, v1::LoraSpec& spec,
                                               Output& output) {
  engine::Adapter adapter;
  if (!file.initial_adapter_path.empty()) {
    CHOIR_ASSIGN_OR_RETURN(adapter, OperatorsOwn(file, model, model_digest, spec, output));
  } else {
    absl::StatusOr<engine::Adapter> fresh =
        engine::InitAdapter(LoraConfigOf(spec), model.LoraTargets(), model.spec().architecture,
                            file.config.training().seed());
    if (!fresh.ok()) return UsageError(fmt::format("[lora]: {}", MessageOf(fresh.status())));
    adapter = *std::move(fresh);
  }
  adapter.dropout = spec.dropout();
  adapter.base_model_sha256 = DigestToHex(model_digest);
  return adapter;
}

}  // namespace choir::cli
