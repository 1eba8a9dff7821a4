#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "cli/data_options.h"
#include "cli/demo_report.h"
#include "cli/engine_session.h"
#include "cli/failure.h"
#include "cli/interrupt.h"
#include "engine/infer/evaluator.h"
#include "engine/infer/generator.h"
#include "engine/infer/sampler.h"

namespace choir::cli {
namespace {

constexpr int64_t kSampleTokens = 40;
constexpr uint64_t kMaxRecordsBytes = uint64_t{256} << 20;

// Exactly what `choir eval --model M --adapter A --data PATH` measures.
absl::StatusOr<engine::Evaluation> Evaluate(const EngineSession& session, const std::string& path,
                                            Output& output) {
  DataOptions options;
  options.append_eos = false;
  CHOIR_ASSIGN_OR_RETURN(
      engine::TrainingData data,
      LoadData("held-out data", path, *session.model, options, DataUse::kEvaluation, 0, output));
  CHOIR_ASSIGN_OR_RETURN(
      engine::Evaluator evaluator,
      engine::Evaluator::Create(*session.model, *session.backend, *session.weights,
                                session.adapter.get(), ContextTokens(options, *session.model),
                                engine::Compute::kF32));
  return evaluator.Evaluate(std::move(data.packer),
                            [](uint64_t, uint64_t) { return !InterruptRequested(); });
}

// On one line.
absl::StatusOr<std::string> Continue(const EngineSession& session, const std::string& prompt) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, session.model->tokenizer().Encode(prompt));
  const int64_t limit = session.model->spec().context_length;
  if (ids.empty() || static_cast<int64_t>(ids.size()) >= limit) return std::string();
  engine::CachedModelOptions generator_options;
  generator_options.context_tokens =
      std::min(limit, static_cast<int64_t>(ids.size()) + kSampleTokens);
  CHOIR_ASSIGN_OR_RETURN(
      engine::Generator generator,
      engine::Generator::Create(*session.model, *session.backend, *session.weights,
                                session.adapter.get(), generator_options));
  engine::GenerateOptions options;
  options.max_new_tokens = kSampleTokens;
  engine::GreedySampler sampler;
  CHOIR_ASSIGN_OR_RETURN(engine::Generation generation,
                         generator.Generate(ids, sampler, options, [](std::string_view) {
                           return !InterruptRequested();
                         }));
  std::string& text = generation.text;
  for (char& c : text) {
    if (c == '\n' || c == '\r' || c == '\t') c = ' ';
  }
  text.erase(0, std::min(text.find_first_not_of(' '), text.size()));
  if (generation.reason == engine::StopReason::kMaxTokens) text += "...";
  return std::move(text);
}

absl::StatusOr<std::string> FirstPrompt(const std::string& held_out_path) {
  CHOIR_ASSIGN_OR_RETURN(const std::string text, ReadFile(held_out_path, kMaxRecordsBytes));
  return PromptOf(std::string_view(text).substr(0, text.find('\n')));
}

// The node's own newest adapter, which must be the run's.
absl::StatusOr<std::string> PulledAdapter(const DemoMeasurement& what,
                                          const DemoFederation::Node& node) {
  std::string path = fmt::format("{}/{}/latest.gguf", node.home.Adapters(), what.run_id);
  CHOIR_ASSIGN_OR_RETURN(const Digest digest, Sha256OfFile(path));
  if (digest == what.final_digest) return path;
  return absl::DataLossError(fmt::format("node {} has adapter {}, the run ended with {}", node.name,
                                         DigestToHex(digest).substr(0, 12),
                                         DigestToHex(what.final_digest).substr(0, 12)));
}

absl::StatusOr<DemoNodeResult> MeasureNode(const DemoFederation::Node& node,
                                           const EngineSession& before, const EngineSession& after,
                                           bool with_sample, Output& output) {
  CHOIR_ASSIGN_OR_RETURN(const engine::Evaluation first,
                         Evaluate(before, node.held_out_path, output));
  CHOIR_ASSIGN_OR_RETURN(const engine::Evaluation last,
                         Evaluate(after, node.held_out_path, output));
  DemoNodeResult result;
  result.name = node.name;
  result.id_hex = node.id_hex;
  result.nll_before = first.mean_nll;
  result.nll_after = last.mean_nll;
  result.held_out_tokens = last.tokens;
  if (!with_sample) return result;
  CHOIR_ASSIGN_OR_RETURN(result.prompt, FirstPrompt(node.held_out_path));
  CHOIR_ASSIGN_OR_RETURN(result.text_before, Continue(before, result.prompt));
  CHOIR_ASSIGN_OR_RETURN(result.text_after, Continue(after, result.prompt));
  return result;
}

}  // namespace

absl::StatusOr<std::vector<DemoNodeResult>> MeasureDemo(const DemoMeasurement& what,
                                                        const DemoFederation& federation,
                                                        Output& output) {
  CHOIR_ASSIGN_OR_RETURN(const EngineSession before,
                         OpenSession(what.device, what.model, what.initial_adapter));
  std::vector<DemoNodeResult> results;
  for (size_t i = 0; i < federation.nodes().size(); ++i) {
    const DemoFederation::Node& node = federation.nodes()[i];
    CHOIR_ASSIGN_OR_RETURN(const std::string pulled, PulledAdapter(what, node));
    CHOIR_ASSIGN_OR_RETURN(const EngineSession after, OpenSession(what.device, what.model, pulled));
    const bool with_sample = i == 0 || i + 1 == federation.nodes().size();
    CHOIR_ASSIGN_OR_RETURN(DemoNodeResult result,
                           MeasureNode(node, before, after, with_sample, output));
    result.rounds_contributed = federation.statuses()[i].rounds_contributed;
    result.masked_bytes = federation.statuses()[i].bytes_sent_masked;
    results.push_back(std::move(result));
  }
  return results;
}

}  // namespace choir::cli
