// `choir adapter convert`: a GGUF adapter to a PEFT folder, or back.

#include <filesystem>
#include <memory>
#include <string>
#include <system_error>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/engine_options.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/lora/peft_adapter.h"
#include "engine/model/peft_base.h"

namespace choir::cli {
namespace {

struct Options {
  std::string model;
  std::string adapter;
  std::string output;
};

absl::Status Run(const Options& options, Environment& environment) {
  std::error_code error;
  const bool from_peft = std::filesystem::is_directory(options.adapter, error);
  if (!from_peft && std::filesystem::is_regular_file(options.output, error)) {
    return UsageError(
        fmt::format("--output: {} is a file; a PEFT adapter is a folder", options.output));
  }
  if (from_peft && std::filesystem::is_directory(options.output, error)) {
    return UsageError(
        fmt::format("--output: {} is a folder; a GGUF adapter is a file", options.output));
  }
  CHOIR_ASSIGN_OR_RETURN(const auto model, OpenModel(options.model));
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter, ReadAdapterFor(*model, options.adapter));
  CHOIR_RETURN_IF_ERROR(
      from_peft ? engine::WriteGgufAdapter(adapter, options.output)
                : engine::WritePeftAdapter(adapter, engine::PeftBaseOf(*model), options.output));
  environment.output.Line(fmt::format("{}: {} adapter, {} layers, {} parameters", options.output,
                                      from_peft ? "GGUF" : "PEFT", adapter.pairs.size(),
                                      HumaneCount(static_cast<int64_t>(adapter.ParameterCount()))));
  environment.output.Json({{"output", options.output},
                           {"format", from_peft ? "gguf" : "peft"},
                           {"adapted_layers", adapter.pairs.size()},
                           {"parameters", adapter.ParameterCount()}});
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  AddModelOption(app, options->model);
  AddAdapterOption(app, options->adapter)->required();
  app.add_option("-o,--output", options->output, "The folder, or the GGUF file, to write")
      ->required()
      ->type_name("PATH");
  app.footer(
      "A GGUF adapter (as llama.cpp loads it) becomes a PEFT folder (adapter_config.json and\n"
      "adapter_model.safetensors, as Hugging Face PEFT loads it); a folder becomes a GGUF file. "
      "The\n"
      "base model says in which order the rows of q and k stand.\n\n"
      "Examples:\n"
      "  choir adapter convert --model base.gguf --adapter mine.gguf --output mine-peft\n"
      "  choir adapter convert --model base.gguf --adapter mine-peft --output mine.gguf\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kAdapterConvertCommand = {"adapter convert",
                                        "Between a GGUF adapter and a PEFT folder", &Declare};

}  // namespace choir::cli
