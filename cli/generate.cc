// `choir generate`: continues a text.

#include <algorithm>
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
#include "cli/interrupt.h"
#include "cli/sampling_options.h"
#include "engine/infer/generator.h"

namespace choir::cli {
namespace {

constexpr uint64_t kMaxPromptFileBytes = uint64_t{16} << 20;

struct Options {
  std::string model;
  std::vector<std::string> adapters;
  std::string prompt;
  std::string prompt_file;
  std::string kv_cache = kDefaultKvCache;
  int64_t max_tokens = 128;
  int64_t context_tokens = 0;
  std::vector<std::string> stop_strings;
  bool ignore_eos = false;
  bool echo = true;
  SamplingChoice sampling;
  DeviceOptions device;
};

absl::StatusOr<std::string> PromptOf(const Options& options) {
  if (options.prompt_file.empty()) return options.prompt;
  auto text = ReadFile(options.prompt_file, kMaxPromptFileBytes);
  if (!text.ok()) return BadInput("prompt", options.prompt_file, text.status());
  return text;
}

// Enough for prompt and answer, unless the user said how much.
absl::StatusOr<int64_t> ContextFor(const Options& options, const engine::Model& model,
                                   size_t prompt_tokens) {
  const auto prompt = static_cast<int64_t>(prompt_tokens);
  if (options.context_tokens > 0) {
    if (prompt < options.context_tokens) return options.context_tokens;
    return UsageError(
        fmt::format("the prompt has {} tokens, --ctx is {}", prompt, options.context_tokens));
  }
  const int64_t wanted = prompt + options.max_tokens;
  const int64_t limit = model.spec().context_length;
  if (prompt >= limit) {
    return UsageError(
        fmt::format("the prompt has {} tokens, the model's context {}", prompt, limit),
        "shorten the prompt, or give --ctx to go beyond what the model was made for");
  }
  return std::max<int64_t>(2, std::min(wanted, limit));
}

absl::Status Print(const std::string& prompt, const std::vector<int32_t>& prompt_ids,
                   const engine::Generation& generation, absl::Duration took,
                   const EngineSession& session, Output& output) {
  std::vector<int32_t> all = prompt_ids;
  all.insert(all.end(), generation.ids.begin(), generation.ids.end());
  const double seconds = absl::ToDoubleSeconds(took);
  const double rate = seconds > 0 ? static_cast<double>(generation.ids.size()) / seconds : 0.0;
  output.Line("");
  output.Note(output.StyledErr(
      Style::kDim,
      fmt::format("{} new tokens in {}, {} tokens/s ({})", generation.ids.size(),
                  HumaneDuration(took), HumaneRate(rate), StopReasonName(generation.reason))));
  output.Json({{"prompt", prompt},
               {"completion", generation.text},
               {"text", prompt + generation.text},
               {"prompt_ids", prompt_ids},
               {"completion_ids", generation.ids},
               {"ids", all},
               {"stop", StopReasonName(generation.reason)},
               {"tokens_per_second", rate},
               {"backend", session.backend->info().backend}});
  if (generation.reason != engine::StopReason::kCancelled) return absl::OkStatus();
  return absl::CancelledError("interrupted");
}

absl::Status Run(const Options& options, Environment& environment) {
  Output& output = environment.output;
  CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Sampler> sampler,
                         MakeSampler(options.sampling));
  CHOIR_ASSIGN_OR_RETURN(const std::string prompt, PromptOf(options));
  CHOIR_ASSIGN_OR_RETURN(const EngineSession session,
                         OpenSession(options.device, options.model, options.adapters));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, session.model->tokenizer().Encode(prompt));
  if (ids.empty())
    return UsageError("the prompt is empty, and this model has no BOS to begin with");
  engine::CachedModelOptions generator_options;
  CHOIR_ASSIGN_OR_RETURN(generator_options.context_tokens,
                         ContextFor(options, *session.model, ids.size()));
  generator_options.compute = ComputeOf(options.device);
  CHOIR_ASSIGN_OR_RETURN(generator_options.kv_cache,
                         KvCacheOf(options.kv_cache, session.model->spec()));
  CHOIR_ASSIGN_OR_RETURN(
      engine::Generator generator,
      engine::Generator::Create(*session.model, *session.backend, *session.weights,
                                session.adapter.get(), generator_options));
  engine::GenerateOptions generate_options;
  generate_options.max_new_tokens = options.max_tokens;
  generate_options.stop_at_end = !options.ignore_eos;
  generate_options.stop_strings = options.stop_strings;
  if (options.echo) output.Piece(output.Styled(Style::kDim, prompt));
  const absl::Time begin = environment.clock.Now();
  CHOIR_ASSIGN_OR_RETURN(
      const engine::Generation generation,
      generator.Generate(ids, *sampler, generate_options, [&output](std::string_view text) {
        output.Piece(text);
        return !InterruptRequested();
      }));
  return Print(prompt, ids, generation, environment.clock.Now() - begin, session, output);
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->device.compute = "f32";
  AddModelOption(app, options->model);
  AddAdaptersOption(app, options->adapters);
  CLI::Option* prompt =
      app.add_option("-p,--prompt", options->prompt, "The text to continue")->type_name("TEXT");
  app.add_option("--prompt-file", options->prompt_file, "The same, from a file")
      ->type_name("FILE")
      ->excludes(prompt);
  app.add_option("-n,--max-tokens", options->max_tokens, "Stop after so many new tokens")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 20).description(""))
      ->type_name("N")
      ->capture_default_str();
  app.add_option("--ctx", options->context_tokens,
                 "Prompt and new tokens together; default: what is needed, at most the model's")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 20).description(""))
      ->type_name("N");
  app.add_option("--stop", options->stop_strings, "Stop before this text; may be repeated")
      ->allow_extra_args(false)
      ->type_name("TEXT");
  app.add_flag("--ignore-eos", options->ignore_eos, "Go on after the model's end of text");
  app.add_flag("--echo,!--no-echo", options->echo,
               "Print the prompt before the new text (default on)");
  AddSamplingOptions(app, options->sampling);
  AddKvCacheOption(app, options->kv_cache);
  AddDeviceOptions(app, options->device);
  app.footer(
      "Takes the likeliest token, unless told to draw; by --seed, so that it gives the same text "
      "again.\n\n"
      "Examples:\n"
      "  choir generate --model base.gguf --prompt \"Once upon a time\"\n"
      "  choir generate --model base.gguf --prompt \"It was\" --temperature 0.8 --top-p 0.9 --seed "
      "7\n"
      "  choir generate --model base.gguf --adapter mine.gguf --prompt-file p.txt -n 200 --json\n"
      "  choir generate --model base.gguf --adapter style.gguf=0.5 --adapter facts.gguf -p "
      "Hello\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kGenerateCommand = {"generate", "Continue a text", &Declare};

}  // namespace choir::cli
