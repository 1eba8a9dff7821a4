#include "engine/infer/generator.h"

#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/infer/stop_strings.h"
#include "engine/tokenizer/stream_decoder.h"

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
                                            const CachedModelOptions& options) {
  CHOIR_ASSIGN_OR_RETURN(CachedModel cached,
                         CachedModel::Create(model, backend, weights, adapter, options));
  return Generator(std::move(cached));
}

absl::StatusOr<Generation> Generator::Generate(std::span<const int32_t> prompt, Sampler& sampler,
                                               const GenerateOptions& options,
                                               const OnText& on_text) {
  if (static_cast<int64_t>(prompt.size()) >= model_.context_tokens()) {
    return absl::InvalidArgumentError(fmt::format("the prompt has {} tokens, the context {}",
                                                  prompt.size(), model_.context_tokens()));
  }
  Generation generation;
  generation.prompt_tokens = static_cast<int64_t>(prompt.size());
  const int64_t processed = model_.processed_tokens();
  CHOIR_RETURN_IF_ERROR(model_.Logits(prompt).status());
  generation.reused_tokens = generation.prompt_tokens - (model_.processed_tokens() - processed);
  TextStream stream(model_.model().tokenizer(), options, on_text);
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
  if (static_cast<int64_t>(history.size()) > model_.context_tokens()) {
    return StopReason::kContextFull;
  }
  CHOIR_ASSIGN_OR_RETURN(const std::span<const float> logits, model_.Logits(history));
  CHOIR_ASSIGN_OR_RETURN(const int32_t id, sampler.Sample(logits, history));
  if (options.stop_at_end && model_.model().tokenizer().IsEndOfGeneration(id)) {
    return StopReason::kEndOfText;
  }
  ids.push_back(id);
  history.push_back(id);
  CHOIR_RETURN_IF_ERROR(stream.Add(id));
  if (stream.stopped()) return StopReason::kStopString;
  if (stream.cancelled()) return StopReason::kCancelled;
  return std::nullopt;
}

}  // namespace choir::engine
