#include "cli/chat_conversation.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "cli/failure.h"
#include "cli/interrupt.h"
#include "nlohmann/json.hpp"

namespace choir::cli {
namespace {

// At least this part of the context is left for an answer, if --max-tokens is not less.
constexpr int64_t kAnswerShare = 4;

}  // namespace

Conversation::Conversation(const ConversationOptions& options, const EngineSession& session,
                           engine::ChatTemplate chat, std::unique_ptr<engine::Sampler> sampler,
                           Output& output)
    : options_(options),
      session_(session),
      chat_(std::move(chat)),
      sampler_(std::move(sampler)),
      output_(output),
      adapter_on_(session.adapter != nullptr) {}

void Conversation::Reset() {
  turns_.clear();
}

void Conversation::SetSystem(std::string text) {
  system_ = std::move(text);
}

absl::Status Conversation::UseAdapter(bool on) {
  if (on && !has_adapter()) {
    return absl::FailedPreconditionError("there is no adapter: /adapter PATH loads one");
  }
  adapter_on_ = on;
  return absl::OkStatus();
}

absl::Status Conversation::LoadAdapter(const std::string& argument) {
  CHOIR_ASSIGN_OR_RETURN(const engine::Adapter read, ReadAdaptersFor(*session_.model, {argument}));
  CHOIR_ASSIGN_OR_RETURN(
      engine::DeviceAdapter on_device,
      engine::DeviceAdapter::Create(*session_.backend, engine::LayoutOf(read), false));
  CHOIR_RETURN_IF_ERROR(on_device.Write(engine::AdapterPart::kParameters, engine::Flatten(read)));
  with_adapter_.reset();  // before what it reads
  own_adapter_ = std::make_unique<engine::DeviceAdapter>(std::move(on_device));
  adapter_on_ = true;
  return absl::OkStatus();
}

std::vector<engine::ChatMessage> Conversation::WithSystem(
    std::span<const engine::ChatMessage> turns) const {
  std::vector<engine::ChatMessage> messages;
  if (!system_.empty()) messages.push_back({"system", system_});
  messages.insert(messages.end(), turns.begin(), turns.end());
  return messages;
}

std::string Conversation::ToJsonLine() const {
  nlohmann::json messages = nlohmann::json::array();
  for (const engine::ChatMessage& message : WithSystem(turns_)) {
    messages.push_back({{"role", message.role}, {"content", message.content}});
  }
  const nlohmann::json record = {{"messages", std::move(messages)}};
  return record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

absl::StatusOr<std::vector<int32_t>> Conversation::Tokens(
    std::span<const engine::ChatMessage> turns) const {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<engine::ChatSpan> spans,
                         chat_.Prompt(WithSystem(turns), options_.think));
  return engine::TokenizeChat(spans, session_.model->tokenizer());
}

absl::StatusOr<std::vector<int32_t>> Conversation::Fit(std::vector<engine::ChatMessage>& turns) {
  const int64_t context = options_.model.context_tokens;
  const int64_t limit = context - std::min(options_.max_tokens, context / kAnswerShare) - 1;
  CHOIR_ASSIGN_OR_RETURN(std::vector<int32_t> prompt, Tokens(turns));
  const size_t whole = prompt.size();
  int64_t forgotten = 0;
  // A user's message and its answer go together.
  while (static_cast<int64_t>(prompt.size()) > limit && turns.size() > 2) {
    turns.erase(turns.begin(), turns.begin() + 2);
    ++forgotten;
    CHOIR_ASSIGN_OR_RETURN(prompt, Tokens(turns));
  }
  if (static_cast<int64_t>(prompt.size()) >= context) {
    return absl::ResourceExhaustedError(
        fmt::format("the message has {} tokens with its markup, and the context {}: shorten it, or "
                    "begin with a larger --ctx",
                    prompt.size(), context));
  }
  if (forgotten > 0) {
    output_.Note(output_.StyledErr(
        Style::kDim, fmt::format("(forgot the {} oldest turn{}: {} tokens and an answer do not fit "
                                 "the context of {})",
                                 forgotten, forgotten == 1 ? "" : "s", whole, context)));
  }
  return prompt;
}

absl::StatusOr<engine::Generator*> Conversation::ChooseGenerator() {
  std::optional<engine::Generator>& generator = adapter_on_ ? with_adapter_ : without_adapter_;
  if (!generator.has_value()) {
    CHOIR_ASSIGN_OR_RETURN(
        generator, engine::Generator::Create(*session_.model, *session_.backend, *session_.weights,
                                             adapter_on_ ? adapter() : nullptr, options_.model));
  }
  return &*generator;
}

absl::Status Conversation::Ask(const std::string& text) {
  std::vector<engine::ChatMessage> turns = turns_;
  turns.push_back({"user", text});
  absl::StatusOr<std::vector<int32_t>> prompt = Fit(turns);
  if (absl::IsResourceExhausted(prompt.status())) {
    output_.Warning(MessageOf(prompt.status()));
    return absl::OkStatus();
  }
  if (!prompt.ok()) return prompt.status();
  CHOIR_ASSIGN_OR_RETURN(engine::Generation generation, Generate(*prompt));
  turns_ = std::move(turns);
  turns_.push_back({"assistant", std::move(generation.text)});
  return absl::OkStatus();
}

absl::StatusOr<engine::Generation> Conversation::Generate(const std::vector<int32_t>& prompt) {
  CHOIR_ASSIGN_OR_RETURN(engine::Generator* const generator, ChooseGenerator());
  engine::GenerateOptions generate_options;
  generate_options.max_new_tokens = options_.max_tokens;
  generate_options.stop_strings = chat_.StopStrings();
  bool begun = false;
  CHOIR_ASSIGN_OR_RETURN(
      engine::Generation generation,
      generator->Generate(prompt, *sampler_, generate_options, [&](std::string_view piece) {
        // A format may put a space before the first word.
        if (!begun) piece.remove_prefix(std::min(piece.find_first_not_of(' '), piece.size()));
        begun = begun || !piece.empty();
        output_.Piece(piece);
        return !InterruptRequested();
      }));
  output_.Line("");
  generation.text.erase(0, generation.text.find_first_not_of(' '));
  if (generation.reason == engine::StopReason::kContextFull) {
    output_.Note(output_.StyledErr(Style::kDim, "(the context is full: the answer ends here)"));
  } else if (generation.reason == engine::StopReason::kMaxTokens) {
    output_.Note(output_.StyledErr(
        Style::kDim, fmt::format("(stopped after {} tokens: --max-tokens)", options_.max_tokens)));
  }
  output_.Json({{"role", "assistant"},
                {"content", generation.text},
                {"stop", StopReasonName(generation.reason)},
                {"prompt_tokens", generation.prompt_tokens},
                {"reused_tokens", generation.reused_tokens},
                {"completion_tokens", generation.ids.size()},
                {"adapter", adapter_on_}});
  return generation;
}

}  // namespace choir::cli
