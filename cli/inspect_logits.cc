// `choir inspect logits`: what the engine computes for given token ids, for people who compare it
// with another implementation.

#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/engine_options.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "engine/infer/logits.h"

namespace choir::cli {
namespace {

struct Options {
  std::string model;
  std::vector<std::string> adapters;
  std::string ids;
  std::string output;
  DeviceOptions device;
};

absl::Status Run(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const EngineSession session,
                         OpenSession(options.device, options.model, options.adapters));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                         ParseIds(options.ids, session.vocabulary()));
  CHOIR_ASSIGN_OR_RETURN(
      const std::vector<float> logits,
      engine::ComputeLogits(*session.model, *session.backend, *session.weights,
                            session.adapter.get(), ids, ComputeOf(options.device)));
  const std::span<const uint8_t> bytes = engine::BytesOf(std::span<const float>(logits));
  CHOIR_RETURN_IF_ERROR(AtomicWriteFile(options.output, AsChars(bytes)));
  environment.output.Line(fmt::format("{}: {} x {} logits, {}", options.output, ids.size(),
                                      session.vocabulary(), HumaneBytes(bytes.size())));
  environment.output.Json({{"output", options.output},
                           {"tokens", ids.size()},
                           {"vocabulary", session.vocabulary()},
                           {"backend", session.backend->info().backend},
                           {"device", session.backend->info().name}});
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->device.compute = "f32";
  AddModelOption(app, options->model);
  AddAdaptersOption(app, options->adapters);
  app.add_option("--ids", options->ids, "Token ids, as in 1,403,407")
      ->required()
      ->type_name("LIST");
  app.add_option("-o,--output", options->output,
                 "Raw little-endian F32, row-major [tokens, vocabulary]")
      ->required()
      ->type_name("FILE");
  AddDeviceOptions(app, options->device);
  app.footer(
      "Row i has the logits after ids 0..i. Nothing is added to the ids: give BOS yourself.\n\n"
      "Examples:\n"
      "  choir inspect logits --model base.gguf --ids 1,403,407,261,378 --output logits.f32\n"
      "  choir inspect logits --model base.gguf --adapter mine.gguf --ids 1,403 \\\n"
      "      --backend vulkan --output logits.f32\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kInspectLogitsCommand = {"inspect logits", "Logits of given token ids, to a file",
                                       &Declare};

}  // namespace choir::cli
