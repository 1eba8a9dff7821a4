#ifndef CHOIR_CLI_EVAL_CHOICES_H_
#define CHOIR_CLI_EVAL_CHOICES_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "CLI/CLI.hpp"
#include "cli/command.h"
#include "cli/engine_session.h"

namespace choir::cli {

// `choir eval --choices`: how often a model holds the right answer likeliest.
struct ChoiceOptions {
  std::vector<std::string> choices;  // empty: perplexity is wanted instead
  std::string answer_mark = "A:";
  std::string kv_cache;
};
// --choices, --answer-mark, --kv-cache.
void AddChoiceOptions(CLI::App& app, ChoiceOptions& options);

struct ChoiceRun {
  const ChoiceOptions& options;
  const std::string& data;
  const std::string& chat_template;
  int64_t context_tokens = 0;  // 0: what the longest item needs
  bool skip_bad_lines = false;
  engine::Compute compute = engine::Compute::kF32;
};
absl::Status EvaluateChoices(const ChoiceRun& run, const EngineSession& session,
                             Environment& environment);

}  // namespace choir::cli

#endif  // CHOIR_CLI_EVAL_CHOICES_H_
