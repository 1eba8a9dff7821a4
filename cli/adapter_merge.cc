// `choir adapter merge`: a base model with adapters made part of its weights.

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/engine_options.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "engine/lora/merge.h"
#include "engine/quant/weight_format.h"

namespace choir::cli {
namespace {

constexpr const char* kKeep = "keep";

struct Options {
  std::string model;
  std::vector<std::string> adapters;
  std::string output;
  std::string type = kKeep;
  double scale = 1;
};

// "keep", and the formats that can be written and hold any value.
std::vector<std::string> TypeNames() {
  std::vector<std::string> names = {kKeep};
  for (const engine::WeightFormat* format : engine::AllWeightFormats()) {
    if (format->quantize_row == nullptr || format->name.starts_with("TQ")) continue;
    names.emplace_back(format->name);
  }
  return names;
}

absl::StatusOr<engine::Adapter> AdapterToMerge(const Options& options, const engine::Model& model) {
  CHOIR_ASSIGN_OR_RETURN(engine::Adapter adapter, ReadAdaptersFor(model, options.adapters));
  const engine::WeightedAdapter scaled[] = {
      {std::move(adapter), static_cast<float>(options.scale)}};
  absl::StatusOr<engine::Adapter> stacked = engine::StackAdapters(scaled);
  if (!stacked.ok()) return UsageError(fmt::format("--scale: {}", MessageOf(stacked.status())));
  return stacked;
}

absl::Status Run(const Options& options, Environment& environment) {
  std::error_code error;
  if (std::filesystem::equivalent(options.model, options.output, error)) {
    return UsageError("--output is the base model itself", "choose another file");
  }
  CHOIR_ASSIGN_OR_RETURN(const auto model, OpenModel(options.model));
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter, AdapterToMerge(options, *model));
  const engine::WeightFormat* format =
      options.type == kKeep ? nullptr : engine::FindWeightFormat(options.type);
  CHOIR_RETURN_IF_ERROR(
      WithHint(engine::MergeIntoModel(model->file(), adapter, format, options.output),
               "--type gives the adapted tensors another type, as F16"));
  const uintmax_t bytes = std::filesystem::file_size(options.output, error);
  environment.output.Line(fmt::format("{}: {} of {} tensors merged, {}", options.output,
                                      adapter.pairs.size(), model->file().tensors().size(),
                                      HumaneBytes(bytes)));
  environment.output.Json({{"output", options.output},
                           {"merged_tensors", adapter.pairs.size()},
                           {"tensors", model->file().tensors().size()},
                           {"bytes", bytes}});
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  AddModelOption(app, options->model);
  AddAdaptersOption(app, options->adapters)->required();
  app.add_option("-o,--output", options->output, "The model to write (GGUF)")
      ->required()
      ->type_name("FILE");
  app.add_option("--type", options->type,
                 "Of the adapted tensors: keep (their own), or F16, F32, Q8_0, ...")
      ->check(OneOf(TypeNames()))
      ->type_name("TYPE")
      ->capture_default_str();
  app.add_option("--scale", options->scale, "Multiplies what the adapters do")
      ->type_name("X")
      ->capture_default_str();
  app.footer(
      "Each adapted tensor becomes W + scale * B A, everything else is copied. A quantised tensor\n"
      "is rounded again; --type F16 keeps more of a small adapter, in a larger file.\n\n"
      "Examples:\n"
      "  choir adapter merge --model base.gguf --adapter mine.gguf --output merged.gguf\n"
      "  choir adapter merge --model base.gguf --adapter a.gguf=0.5 --adapter b-peft \\\n"
      "      --type F16 --output merged.gguf\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kAdapterMergeCommand = {
    "adapter merge", "Make adapters part of a model's weights, in a new file", &Declare};

}  // namespace choir::cli
