#include "cli/bench_options.h"

#include "bench/model_shape.h"
#include "cli/command.h"
#include "cli/recompute_option.h"
#include "cli/train_options.h"
#include "engine/lora/lora_config.h"

namespace choir::cli {
namespace {

constexpr int64_t kMaxCount = int64_t{1} << 20;

void AddCount(CLI::App& app, const char* name, int64_t& value, const char* what,
              const char* group) {
  app.add_option(name, value, what)
      ->check(CLI::Range(int64_t{1}, kMaxCount).description(""))
      ->type_name("N")
      ->capture_default_str()
      ->group(group);
}

void AddModelOptions(CLI::App& app, BenchOptions& options) {
  constexpr const char* kGroup = "Model";
  CLI::Option* shape =
      app.add_option("--shape", options.shape, "A network of known size, with random weights")
          ->check(OneOf(bench::ModelShapeNames()))
          ->type_name("NAME")
          ->capture_default_str()
          ->group(kGroup);
  app.add_option("--model", options.model, "A model file (GGUF) instead")
      ->type_name("FILE")
      ->excludes(shape)
      ->group(kGroup);
  app.add_option("--dtype", options.formats,
                 "Weight format of the random weights; several (F32,Q8_0) take turns, step by step")
      ->type_name("FORMATS")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--tokenizer", options.tokenizer,
                 "Take the tokenizer of this file (GGUF), for --data with --shape")
      ->type_name("FILE")
      ->group(kGroup);
  app.add_option("--folder", options.folder,
                 "Where the temporary model lies while it is used (default: the system's)")
      ->type_name("FOLDER")
      ->group(kGroup);
}

void AddTrainingOptions(CLI::App& app, BenchOptions& options) {
  constexpr const char* kGroup = "Training";
  AddCount(app, "--ctx", options.context_tokens, "Tokens of a micro-batch, and of a prompt",
           kGroup);
  AddCount(app, "--batch", options.batch, "Micro-batches in a step", kGroup);
  AddCount(app, "--steps", options.steps, "Steps that are timed; one more comes before them",
           kGroup);
  app.add_option("--rank", options.rank, "Rank of the LoRA matrices")
      ->check(CLI::Range(1, engine::kMaxLoraRank).description(""))
      ->type_name("N")
      ->capture_default_str()
      ->group(kGroup);
  app.add_option("--modules", options.modules, "all, attn, or a list (see `choir train --help`)")
      ->type_name("LIST")
      ->capture_default_str()
      ->group(kGroup);
  AddRecomputeOption(app, options.recompute, kGroup);
  AddBudgetOption(app, options.budget, kGroup);
  app.add_option("--data", options.data, "Train on this data; only its real tokens count")
      ->type_name("PATH")
      ->group(kGroup);
}

void AddInferenceOptions(CLI::App& app, BenchOptions& options) {
  constexpr const char* kGroup = "Prompts and generation";
  AddCount(app, "-n,--new-tokens", options.new_tokens, "Tokens to generate", kGroup);
  AddCount(app, "--prompt-batch", options.prompt_batch, "Tokens of a prompt at once", kGroup);
  app.add_flag("--lora", options.lora,
               "Without an adapter and with one (--rank, --modules), in turn")
      ->group(kGroup);
}

}  // namespace

std::vector<std::string> BenchOptions::Formats() const {
  std::vector<std::string> words;
  std::string_view rest = formats;
  while (true) {
    const std::string_view word = rest.substr(0, rest.find(','));
    words.emplace_back(word);
    if (word.size() == rest.size()) return words;
    rest.remove_prefix(word.size() + 1);
  }
}

void AddBenchOptions(CLI::App& app, BenchOptions& options) {
  app.add_option("what", options.what, "train, prompt, generate, or all")
      ->check(OneOf({"train", "prompt", "generate", "all"}))
      ->type_name("WHAT")
      ->capture_default_str();
  AddModelOptions(app, options);
  AddTrainingOptions(app, options);
  AddInferenceOptions(app, options);
  app.add_flag("--quick", options.quick, "A tiny model and one step: does everything work?");
  app.add_flag("--profile", options.profile, "Time, rate and share of each operation");
  app.add_option("--trace", options.trace, "Write the last run as a Chrome trace (JSON)")
      ->type_name("FILE");
  AddDeviceOptions(app, options.device);
}

}  // namespace choir::cli
