#include "engine/infer/generator.h"

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/infer/stop_strings.h"
#include "engine/tokenizer/stream_decoder.h"
#include "engine/train/compute_choice.h"

namespace choir::engine {

// New ids on their way to text: decoded, watched for stop strings, told to the caller.
class Generator::TextStream {
 public:
  TextStream(const Tokenizer& tokenizer, const GenerateOptions& options, const OnText& on_text)
      : decoder_(tokenizer), stops_(options.stop_strings), on_text_(on_text) {}

  absl::Status Add(int32_t id) {
    CHOIR_ASSIGN_OR_RETURN(const std::string piece, decoder_.DecodePiece(id));
    Show(stops_.Feed(piece));
    return absl::OkStatus();
  }
  void Finish() {
    Show(stops_.Feed(decoder_.Flush()));
    Show(stops_.Flush());
  }
  [[nodiscard]] bool stopped() const { return stops_.stopped(); }
  [[nodiscard]] bool cancelled() const { return cancelled_; }
  [[nodiscard]] std::string TakeText() { return std::move(text_); }

 private:
  // Also called with nothing, so that the caller can cancel between tokens.
  void Show(std::string_view text) {
    text_ += text;
    if (on_text_ && !cancelled_) cancelled_ = !on_text_(text);
  }

  StreamDecoder decoder_;
  StopStrings stops_;
  const OnText& on_text_;
  std::string text_;
  bool cancelled_ = false;
};

std::string_view StopReasonName(StopReason reason) {
  constexpr std::string_view kNames[] = {"max_tokens", "end_of_text", "stop_string", "context_full",
                                         "cancelled"};
  return kNames[static_cast<size_t>(reason)];
}

absl::StatusOr<Generator> Generator::Create(const Model& model, Backend& backend,
                                            const DeviceModel& weights,
                                            const DeviceAdapter* adapter,
                                            const GeneratorOptions& options) {
  if (options.context_tokens < 2 || options.prompt_tokens < 1) {
    return absl::InvalidArgumentError(
        fmt::format("a context of {} tokens, {} at once, is too small", options.context_tokens,
                    options.prompt_tokens));
  }
  CHOIR_ASSIGN_OR_RETURN(KvCache cache,
                         KvCache::Create(backend, model.spec(), options.context_tokens));
  Generator generator(model, std::move(cache));
  generator.rows_ = options.context_tokens;
  generator.logits_.resize(static_cast<size_t>(model.spec().vocabulary));
  const Compute compute = ChooseCompute(options.compute, model.spec());
  const AdapterLayout* layout = adapter == nullptr ? nullptr : &adapter->layout();
  const auto compile = [&](int64_t tokens, Program& program) -> absl::Status {
    program.tokens = tokens;
    CHOIR_ASSIGN_OR_RETURN(program.graph,
                           BuildCachedGraph(model, layout, tokens, options.context_tokens));
    Bindings bindings;
    weights.Bind(program.graph.graph, bindings);
    if (adapter != nullptr) adapter->Bind(program.graph.graph, bindings);
    generator.cache_.Bind(program.graph.graph, bindings);
    CHOIR_ASSIGN_OR_RETURN(program.executable, backend.Compile(program.graph.graph, bindings,
                                                               CompileOptions{.compute = compute}));
    return absl::OkStatus();
  };
  CHOIR_RETURN_IF_ERROR(
      compile(std::min(options.prompt_tokens, options.context_tokens), generator.prompt_program_));
  CHOIR_RETURN_IF_ERROR(compile(1, generator.step_program_));
  return generator;
}

absl::Status Generator::Feed(Program& program, std::span<const int32_t> ids, int64_t start) {
  const auto tokens = static_cast<size_t>(program.tokens);
  std::vector<int32_t> padded(tokens, 0);
  std::copy(ids.begin(), ids.end(), padded.begin());
  std::vector<int32_t> positions(tokens);
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(start));
  const auto start_row = static_cast<int32_t>(start);
  const auto last_row = static_cast<int32_t>(ids.size() - 1);
  Executable& executable = *program.executable;
  const auto write = [&executable](TensorId id, std::span<const int32_t> values) {
    return executable.WriteInput(id, BytesOf(values));
  };
  CHOIR_RETURN_IF_ERROR(write(program.graph.ids, padded));
  CHOIR_RETURN_IF_ERROR(write(program.graph.positions, positions));
  CHOIR_RETURN_IF_ERROR(write(program.graph.start, {&start_row, 1}));
  CHOIR_RETURN_IF_ERROR(write(program.graph.last_row, {&last_row, 1}));
  CHOIR_RETURN_IF_ERROR(executable.Run());
  return executable.ReadOutput(program.graph.logits, MutableBytesOf(std::span<float>(logits_)));
}

absl::Status Generator::FeedPrompt(std::span<const int32_t> prompt) {
  int64_t start = 0;
  while (!prompt.empty()) {
    // Padding must not reach beyond the cache's end: there, token by token.
    const bool fits = start + prompt_program_.tokens <= rows_;
    Program& program = fits ? prompt_program_ : step_program_;
    const size_t count = std::min(prompt.size(), static_cast<size_t>(program.tokens));
    CHOIR_RETURN_IF_ERROR(Feed(program, prompt.first(count), start));
    prompt = prompt.subspan(count);
    start += static_cast<int64_t>(count);
  }
  return absl::OkStatus();
}

absl::StatusOr<Generation> Generator::Generate(std::span<const int32_t> prompt, Sampler& sampler,
                                               const GenerateOptions& options,
                                               const OnText& on_text) {
  if (prompt.empty()) return absl::InvalidArgumentError("the prompt has no tokens");
  CHOIR_RETURN_IF_ERROR(model_->CheckTokens(prompt));
  if (static_cast<int64_t>(prompt.size()) >= rows_) {
    return absl::InvalidArgumentError(
        fmt::format("the prompt has {} tokens, the context {}", prompt.size(), rows_));
  }
  CHOIR_RETURN_IF_ERROR(FeedPrompt(prompt));
  Generation generation;
  TextStream stream(model_->tokenizer(), options, on_text);
  std::vector<int32_t> history(prompt.begin(), prompt.end());
  while (true) {
    CHOIR_ASSIGN_OR_RETURN(const std::optional<StopReason> stop,
                           Step(sampler, options, history, generation.ids, stream));
    if (!stop.has_value()) continue;
    generation.reason = *stop;
    break;
  }
  stream.Finish();
  generation.text = stream.TakeText();
  return generation;
}

absl::StatusOr<std::optional<StopReason>> Generator::Step(Sampler& sampler,
                                                          const GenerateOptions& options,
                                                          std::vector<int32_t>& history,
                                                          std::vector<int32_t>& ids,
                                                          TextStream& stream) {
  const auto full = [&] { return static_cast<int64_t>(ids.size()) >= options.max_new_tokens; };
  if (full()) return StopReason::kMaxTokens;
  CHOIR_ASSIGN_OR_RETURN(const int32_t id, sampler.Sample(logits_, history));
  if (options.stop_at_end && model_->tokenizer().IsEndOfGeneration(id)) {
    return StopReason::kEndOfText;
  }
  ids.push_back(id);
  history.push_back(id);
  CHOIR_RETURN_IF_ERROR(stream.Add(id));
  if (stream.stopped()) return StopReason::kStopString;
  if (stream.cancelled()) return StopReason::kCancelled;
  if (full()) return StopReason::kMaxTokens;
  const auto used = static_cast<int64_t>(history.size());
  if (used > rows_) return StopReason::kContextFull;
  CHOIR_RETURN_IF_ERROR(Feed(step_program_, {&id, 1}, used - 1));
  return std::nullopt;
}

}  // namespace choir::engine
