// `choir eval`: how well a model, with or without an adapter, predicts a text or chooses an answer.

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/command.h"
#include "cli/data_options.h"
#include "cli/engine_options.h"
#include "cli/engine_session.h"
#include "cli/eval_choices.h"
#include "cli/humane.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "engine/infer/evaluator.h"

namespace choir::cli {
namespace {

struct Options {
  std::string model;
  std::vector<std::string> adapters;
  std::string data;
  DataOptions data_options;
  ChoiceOptions choices;
  DeviceOptions device;
};

absl::Status Run(const Options& options, Environment& environment) {
  Output& output = environment.output;
  CHOIR_ASSIGN_OR_RETURN(const EngineSession session,
                         OpenSession(options.device, options.model, options.adapters));
  if (!options.choices.choices.empty()) {
    return EvaluateChoices({.options = options.choices,
                            .data = options.data,
                            .chat_template = options.data_options.chat_template,
                            .context_tokens = options.data_options.context_tokens,
                            .skip_bad_lines = options.data_options.skip_bad_lines,
                            .compute = ComputeOf(options.device)},
                           session, environment);
  }
  CHOIR_ASSIGN_OR_RETURN(engine::TrainingData data,
                         LoadData("data", options.data, *session.model, options.data_options,
                                  DataUse::kEvaluation, 0, output));
  CHOIR_ASSIGN_OR_RETURN(
      engine::Evaluator evaluator,
      engine::Evaluator::Create(
          *session.model, *session.backend, *session.weights, session.adapter.get(),
          ContextTokens(options.data_options, *session.model), ComputeOf(options.device)));
  const absl::Time begin = environment.clock.Now();
  ProgressBar bar(output, environment.clock, "eval",
                  static_cast<int64_t>(data.packer.MicroBatchesInEpoch()));
  CHOIR_ASSIGN_OR_RETURN(
      const engine::Evaluation evaluation,
      evaluator.Evaluate(std::move(data.packer), [&bar](uint64_t done, uint64_t /*total*/) {
        bar.Update(static_cast<int64_t>(done), "");
        return !InterruptRequested();
      }));
  bar.Finish();
  const double seconds = absl::ToDoubleSeconds(environment.clock.Now() - begin);
  const double rate = seconds > 0 ? static_cast<double>(evaluation.tokens) / seconds : 0.0;
  output.Line(fmt::format("mean NLL    {:.6f}\nperplexity  {:.4f}\ntokens      {} ({} tokens/s)",
                          evaluation.mean_nll, evaluation.perplexity,
                          HumaneCount(static_cast<int64_t>(evaluation.tokens)), HumaneRate(rate)));
  output.Json({{"mean_nll", evaluation.mean_nll},
               {"perplexity", evaluation.perplexity},
               {"tokens", evaluation.tokens},
               {"documents", evaluation.documents},
               {"seconds", seconds},
               {"tokens_per_second", rate},
               {"backend", session.backend->info().backend},
               {"device", session.backend->info().name}});
  return absl::OkStatus();
}

Action Declare(CLI::App& app) {
  auto options = std::make_shared<Options>();
  options->device.compute = "f32";
  options->data_options.append_eos = false;
  AddModelOption(app, options->model);
  AddAdaptersOption(app, options->adapters);
  app.add_option("--data", options->data, "JSONL, text or Markdown; a file or a folder")
      ->required()
      ->type_name("PATH");
  AddDataOptions(app, options->data_options);
  AddChoiceOptions(app, options->choices);
  AddDeviceOptions(app, options->device);
  app.footer(
      "The mean NLL is the natural logarithm, a predicted token: each token of a document but\n"
      "the first (BOS). Perplexity is its exponential.\n\n"
      "With --choices each line of --data (JSONL) is a question: \"prompt\", \"messages\" (where "
      "the\n"
      "model has a chat template) or \"text\", with its answer in \"answer\" or \"label\", or at "
      "the\n"
      "beginning of the completion; upper and lower case are the same there. Each choice, as it "
      "is\n"
      "written in --choices, is scored by the log-likelihood of its tokens after the prompt, "
      "summed\n"
      "and as the mean a token, beside always giving the most frequent answer.\n\n"
      "Examples:\n"
      "  choir eval --model base.gguf --data test.jsonl\n"
      "  choir eval --model base.gguf --adapter mine.gguf --data test.jsonl --json\n"
      "  choir eval --model base.gguf --data pubmedqa.jsonl --choices Yes,No,Maybe\n");
  return [options](Environment& environment) { return Run(*options, environment); };
}

}  // namespace

const Command kEvalCommand = {"eval", "Measure how well a model predicts a text", &Declare};

}  // namespace choir::cli
