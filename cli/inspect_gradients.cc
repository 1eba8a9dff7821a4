// `choir inspect gradients`: the loss's gradient for every factor of an adapter, for people who
// compare the engine with another implementation.

#include <charconv>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/engine_options.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "engine/lora/gguf_adapter.h"
#include "engine/train/gradients.h"

namespace choir::cli {
namespace {

struct Options {
  std::string model;
  std::string adapter;
  std::string ids;
  std::string loss_mask;
  std::string output;
  DeviceOptions device;
};

// "0,0,1,1" (or fractions) as weights; all ones for an empty text.
absl::StatusOr<std::vector<float>> ParseMask(std::string_view text, size_t targets) {
  std::vector<float> weights;
  if (text.empty()) weights.assign(targets, 1.0f);
  while (!text.empty()) {
    const std::string_view word = text.substr(0, text.find(','));
    float weight = -1;
    const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), weight);
    if (error != std::errc() || end != word.data() + word.size() || !(weight >= 0)) {
      return UsageError(fmt::format("--loss-mask: '{}' is not a weight", word),
                        "give one number a target, as in --loss-mask 0,0,1,1");
    }
    weights.push_back(weight);
    text.remove_prefix(std::min(text.size(), word.size() + 1));
  }
  if (weights.size() != targets) {
    return UsageError(
        fmt::format("--loss-mask has {} numbers, the ids have {} targets", weights.size(), targets),
        "position i predicts id i+1, so there is one number less than ids");
  }
  return weights;
}

absl::Status Run(const Options& options, Environment& environment) {
  CHOIR_ASSIGN_OR_RETURN(const EngineSession session,
                         OpenSession(options.device, options.model, ""));
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter adapter,
                         ReadAdapterFor(*session.model, options.adapter));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                         ParseIds(options.ids, session.vocabulary()));
  if (ids.size() < 2)
    return UsageError("--ids: at least 2 ids are needed, the first has no target");
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> weights,
                         ParseMask(options.loss_mask, ids.size() - 1));
  CHOIR_ASSIGN_OR_RETURN(
      const engine::LossAndGradients result,
      engine::ComputeGradients(*session.model, *session.backend, *session.weights, adapter, ids,
                               weights, ComputeOf(options.device)));
  CHOIR_RETURN_IF_ERROR(engine::WriteGgufAdapter(result.gradients, options.output));
  environment.output.Line(fmt::format("{}: gradients of {} tensors, loss {:.6f}", options.output,
                                      2 * result.gradients.pairs.size(), result.loss));
  environment.output.Json({{"output", options.output},
                           {"loss", result.loss},
                           {"tensors", 2 * result.gradients.pairs.size()},
                           {"backend", session.backend->info().backend},
                           {"device", session.backend->info().name}});
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->device.compute = "f32";
  AddModelOption(app, options->model);
  AddAdapterOption(app, options->adapter)->required();
  app.add_option("--ids", options->ids, "Token ids, as in 1,403,407")
      ->required()
      ->type_name("LIST");
  app.add_option("--loss-mask", options->loss_mask,
                 "A weight for each target (one less than ids); default all 1")
      ->type_name("LIST");
  app.add_option("-o,--output", options->output,
                 "GGUF with a gradient for each adapter tensor, F32")
      ->required()
      ->type_name("FILE");
  AddDeviceOptions(app, options->device);
  app.footer(
      "Position i predicts id i+1. The loss is the mean cross-entropy, weighted by the mask:\n"
      "sum(mask * nll) / sum(mask). Tensors bear the adapter's names (.lora_a, .lora_b).\n\n"
      "Examples:\n"
      "  choir inspect gradients --model base.gguf --adapter mine.gguf --ids 1,403,407,261 \\\n"
      "      --loss-mask 0,1,1 --output gradients.gguf\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kInspectGradientsCommand = {"inspect gradients",
                                          "Gradients of an adapter's factors, to a file", &Declare};

}  // namespace choir::cli
