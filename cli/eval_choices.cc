#include "cli/eval_choices.h"

#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/engine_options.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/interrupt.h"
#include "cli/progress.h"
#include "engine/chat/chat_template.h"
#include "engine/infer/choice_items.h"
#include "engine/infer/choice_scorer.h"

namespace choir::cli {
namespace {

constexpr const char* kItemHint =
    "each line has \"prompt\", \"messages\" or \"text\", and its answer in \"answer\" or "
    "\"label\"; "
    "--skip-bad-lines leaves others out";

// The two ways to choose.
struct Tallies {
  engine::ChoiceTally sum;
  engine::ChoiceTally per_token;
};

struct Tokenized {
  std::vector<engine::ChoiceTokens> items;
  int64_t longest = 0;
};

absl::StatusOr<std::vector<engine::ChoiceItem>> ReadItems(const ChoiceRun& run, bool has_template,
                                                          Output& output) {
  const engine::ChoiceItemOptions item_options{.choices = run.options.choices,
                                               .answer_mark = run.options.answer_mark,
                                               .prefer_messages = has_template,
                                               .skip_bad_lines = run.skip_bad_lines};
  if (auto status = engine::CheckChoices(item_options.choices); !status.ok()) {
    return UsageError(fmt::format("--choices: {}", MessageOf(status)));
  }
  engine::ChoiceItemReport report;
  auto items = engine::ReadChoiceItems(run.data, item_options, report);
  if (!items.ok()) return BadInput("data", run.data, items.status(), kItemHint);
  if (report.bad_lines > 0) {
    output.Warning(fmt::format("left out {} bad lines; the first is {}:{}: {}", report.bad_lines,
                               run.data, report.first_bad_line, report.first_reason));
  }
  return items;
}

absl::StatusOr<Tokenized> Tokenize(const ChoiceRun& run, const engine::Model& model,
                                   const absl::StatusOr<engine::ChatTemplate>& chat,
                                   const std::vector<engine::ChoiceItem>& items) {
  const auto format = [&chat](std::span<const engine::ChatMessage> messages)
      -> absl::StatusOr<std::vector<engine::ChatSpan>> {
    if (!chat.ok()) return chat.status();
    return chat->Prompt(messages, /*think=*/false);
  };
  const int64_t limit = run.context_tokens > 0 ? run.context_tokens : model.spec().context_length;
  Tokenized result;
  for (const engine::ChoiceItem& item : items) {
    auto tokens = engine::TokenizeChoices(item, run.options.choices, model.tokenizer(), format);
    if (!tokens.ok()) {
      return BadInput("data", fmt::format("{}:{}", run.data, item.line), tokens.status(),
                      "--chat-template names a format for models that have none");
    }
    size_t longest = 0;
    for (const auto& choice : tokens->choices) longest = std::max(longest, choice.size());
    const auto needed = static_cast<int64_t>(tokens->prompt.size() + longest);
    if (needed > limit) {
      return BadInput("data", run.data,
                      absl::InvalidArgumentError(fmt::format(
                          "line {} has {} tokens with its longest choice, the context {}",
                          item.line, needed, limit)),
                      "shorten the item, or leave it out of the file");
    }
    result.longest = std::max(result.longest, needed);
    result.items.push_back(*std::move(tokens));
  }
  return result;
}

nlohmann::json ToJson(const engine::ChoiceTally& tally, size_t num_choices) {
  nlohmann::json confusion = nlohmann::json::array();
  for (size_t answer = 0; answer < num_choices; ++answer) {
    nlohmann::json row = nlohmann::json::array();
    for (size_t predicted = 0; predicted < num_choices; ++predicted) {
      row.push_back(tally.Count(answer, predicted));
    }
    confusion.push_back(std::move(row));
  }
  return {{"accuracy", tally.Accuracy()}, {"macro_f1", tally.MacroF1()}, {"confusion", confusion}};
}

std::string Row(std::string_view name, const engine::ChoiceTally& tally) {
  return fmt::format("{:<28}{:>7.1f} %{:>10.3f}\n", name, 100 * tally.Accuracy(), tally.MacroF1());
}

std::string Describe(const Tallies& tallies, const std::vector<std::string>& choices) {
  const engine::ChoiceTally& sum = tallies.sum;
  std::string text =
      fmt::format("{:<28}{:>9}{:>10}\n",
                  fmt::format("{} items", HumaneCount(static_cast<int64_t>(sum.total()))),
                  "accuracy", "macro-F1");
  text += Row("summed log-likelihood", sum);
  text += Row("mean a token", tallies.per_token);
  text += Row(fmt::format("always '{}'", choices[sum.MajorityChoice()]), sum.MajorityBaseline());
  size_t width = 8;
  for (const std::string& choice : choices) width = std::max(width, choice.size() + 2);
  text += fmt::format("\n{:<28}", "answer \\ predicted (summed)");
  for (const std::string& choice : choices) text += fmt::format("{:>{}}", choice, width);
  for (size_t i = 0; i < choices.size(); ++i) {
    text += fmt::format("\n{:<28}", choices[i]);
    for (size_t j = 0; j < choices.size(); ++j) {
      text += fmt::format("{:>{}}", sum.Count(i, j), width);
    }
  }
  return text;
}

absl::StatusOr<Tallies> ScoreAll(const Tokenized& tokenized,
                                 const std::vector<engine::ChoiceItem>& items, size_t num_choices,
                                 engine::CachedModel& model, Environment& environment) {
  Tallies tallies{engine::ChoiceTally(num_choices), engine::ChoiceTally(num_choices)};
  ProgressBar bar(environment.output, environment.clock, "eval",
                  static_cast<int64_t>(items.size()));
  for (size_t i = 0; i < items.size(); ++i) {
    CHOIR_ASSIGN_OR_RETURN(const std::vector<engine::ChoiceScore> scores,
                           engine::ScoreChoices(model, tokenized.items[i]));
    tallies.sum.Add(items[i].answer, engine::LikeliestBySum(scores));
    tallies.per_token.Add(items[i].answer, engine::LikeliestPerToken(scores));
    bar.Update(static_cast<int64_t>(i + 1),
               fmt::format("accuracy {:.1f} %", 100 * tallies.sum.Accuracy()));
    if (InterruptRequested()) return absl::CancelledError("interrupted");
  }
  bar.Finish();
  return tallies;
}

}  // namespace

void AddChoiceOptions(CLI::App& app, ChoiceOptions& options) {
  options.kv_cache = kDefaultKvCache;
  constexpr const char* kGroup = "Multiple choice";
  app.add_option("--choices", options.choices,
                 "Instead: how often the right one of these answers is the likeliest, as in "
                 "yes,no,maybe")
      ->delimiter(',')
      ->type_name("LIST")
      ->group(kGroup);
  app.add_option("--answer-mark", options.answer_mark,
                 "An item that is a text only is asked up to the first line that begins with this")
      ->type_name("TEXT")
      ->capture_default_str()
      ->group(kGroup);
  AddKvCacheOption(app, options.kv_cache);
}

absl::Status EvaluateChoices(const ChoiceRun& run, const EngineSession& session,
                             Environment& environment) {
  Output& output = environment.output;
  const engine::Model& model = *session.model;
  const std::vector<std::string>& choices = run.options.choices;
  const auto chat =
      engine::ChatTemplate::Choose(model.file(), model.tokenizer(), run.chat_template);
  if (!chat.ok() && run.chat_template != "auto") {
    return BadInput("chat template", run.chat_template, chat.status());
  }
  CHOIR_ASSIGN_OR_RETURN(const std::vector<engine::ChoiceItem> items,
                         ReadItems(run, chat.ok(), output));
  CHOIR_ASSIGN_OR_RETURN(const Tokenized tokenized, Tokenize(run, model, chat, items));
  engine::CachedModelOptions cache_options;
  // A cache row more than the longest text needs nothing: a model may be made for exactly that.
  cache_options.context_tokens = std::max<int64_t>(2, tokenized.longest);
  cache_options.compute = run.compute;
  CHOIR_ASSIGN_OR_RETURN(cache_options.kv_cache, KvCacheOf(run.options.kv_cache, model.spec()));
  CHOIR_ASSIGN_OR_RETURN(engine::CachedModel cached,
                         engine::CachedModel::Create(model, *session.backend, *session.weights,
                                                     session.adapter.get(), cache_options));
  const absl::Time begin = environment.clock.Now();
  CHOIR_ASSIGN_OR_RETURN(const Tallies tallies,
                         ScoreAll(tokenized, items, choices.size(), cached, environment));
  output.Line(Describe(tallies, choices));
  const size_t majority = tallies.sum.MajorityChoice();
  nlohmann::json baseline = ToJson(tallies.sum.MajorityBaseline(), choices.size());
  baseline["choice"] = choices[majority];
  output.Json({{"items", items.size()},
               {"choices", choices},
               {"summed", ToJson(tallies.sum, choices.size())},
               {"per_token", ToJson(tallies.per_token, choices.size())},
               {"majority", baseline},
               {"chat_template", chat.ok() ? std::string(chat->family()) : ""},
               {"processed_tokens", cached.processed_tokens()},
               {"seconds", absl::ToDoubleSeconds(environment.clock.Now() - begin)},
               {"backend", session.backend->info().backend}});
  return absl::OkStatus();
}

}  // namespace choir::cli
