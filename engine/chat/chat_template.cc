#include "engine/chat/chat_template.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir::engine {
namespace {

constexpr const ChatFamily* kFamilies[] = {
#define CHOIR_CHAT_FAMILY(Name) &k##Name##Chat,
#include "engine/chat/chat_families.def"
#undef CHOIR_CHAT_FAMILY
};
constexpr std::string_view kTemplateKey = "tokenizer.chat_template";
constexpr std::string_view kAuto = "auto";
constexpr std::string_view kRoles[] = {"system", "user", "assistant"};

std::string Names() {
  std::string out;
  for (const ChatFamily* family : kFamilies) {
    out += fmt::format("{}{}", out.empty() ? "" : ", ", family->name);
  }
  return out;
}

absl::StatusOr<const ChatFamily*> Recognise(std::string_view jinja) {
  if (jinja.empty()) {
    return absl::NotFoundError(
        fmt::format("the model's file has no chat template ({}); name one of {}, if the model was "
                    "trained with it",
                    kTemplateKey, Names()));
  }
  for (const ChatFamily* family : kFamilies) {
    if (family->recognises != nullptr && family->recognises(jinja)) return family;
  }
  return absl::UnimplementedError(
      fmt::format("the model's chat template ({}) is of no family that is known; name one of {}, "
                  "if the model was trained with it, or give conversations as \"prompt\" and "
                  "\"completion\"",
                  kTemplateKey, Names()));
}

absl::StatusOr<const ChatFamily*> FindFamily(std::string_view name) {
  for (const ChatFamily* family : kFamilies) {
    if (family->name == name) return family;
  }
  return absl::InvalidArgumentError(
      fmt::format("chat template \"{}\": use auto or one of {}", name, Names()));
}

absl::Status CheckVocabulary(const ChatFamily& family, const Tokenizer& tokenizer) {
  for (const std::string_view token : family.control_tokens) {
    if (tokenizer.FindToken(token).has_value()) continue;
    return absl::FailedPreconditionError(fmt::format(
        "the chat template {} needs the token {}, which the model's vocabulary does not have",
        family.name, token));
  }
  return absl::OkStatus();
}

absl::Status CheckRoles(std::span<const ChatMessage> messages) {
  if (messages.empty()) return absl::InvalidArgumentError("the conversation has no message");
  for (size_t i = 0; i < messages.size(); ++i) {
    if (std::find(std::begin(kRoles), std::end(kRoles), messages[i].role) != std::end(kRoles)) {
      continue;
    }
    return absl::InvalidArgumentError(
        fmt::format("message {} has a role that is not system, user or assistant", i + 1));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<std::string> ChatFamilyNames() {
  std::vector<std::string> out = {std::string(kAuto)};
  for (const ChatFamily* family : kFamilies) out.emplace_back(family->name);
  return out;
}

absl::StatusOr<ChatTemplate> ChatTemplate::Choose(const GgufFile& file, const Tokenizer& tokenizer,
                                                  std::string_view family) {
  std::string_view jinja;
  if (file.Has(kTemplateKey)) {
    CHOIR_ASSIGN_OR_RETURN(jinja, file.GetString(kTemplateKey));
  }
  CHOIR_ASSIGN_OR_RETURN(const ChatFamily* const chosen,
                         family == kAuto ? Recognise(jinja) : FindFamily(family));
  CHOIR_RETURN_IF_ERROR(CheckVocabulary(*chosen, tokenizer));
  // The variants of another family's template mean nothing to this one.
  const bool own = chosen->recognises != nullptr && chosen->recognises(jinja);
  return ChatTemplate(*chosen, chosen->make(own ? jinja : std::string_view()));
}

absl::StatusOr<std::vector<ChatSpan>> ChatTemplate::Conversation(
    std::span<const ChatMessage> messages) const {
  CHOIR_RETURN_IF_ERROR(CheckRoles(messages));
  ChatWriter out;
  CHOIR_RETURN_IF_ERROR(renderer_->Write(messages, out));
  return out.Take();
}

absl::StatusOr<std::vector<ChatSpan>> ChatTemplate::Prompt(std::span<const ChatMessage> messages,
                                                           bool think) const {
  CHOIR_RETURN_IF_ERROR(CheckRoles(messages));
  if (messages.back().role != "user") {
    return absl::InvalidArgumentError("the assistant answers a user, whose message must be last");
  }
  ChatWriter out;
  CHOIR_RETURN_IF_ERROR(renderer_->Write(messages, out));
  renderer_->OpenAnswer(think, out);
  return out.Take();
}

std::vector<std::string> ChatTemplate::StopStrings() const {
  return renderer_->StopStrings();
}

ChatFormatter MakeChatFormatter(const GgufFile& file, const Tokenizer& tokenizer,
                                std::string_view family) {
  return [chosen = ChatTemplate::Choose(file, tokenizer, family)](
             std::span<const ChatMessage> messages) -> absl::StatusOr<std::vector<ChatSpan>> {
    if (!chosen.ok()) return chosen.status();
    return chosen->Conversation(messages);
  };
}

absl::StatusOr<std::vector<int32_t>> TokenizeChat(std::span<const ChatSpan> spans,
                                                  const Tokenizer& tokenizer) {
  Example example;
  example.form = Example::Form::kMessages;
  TokenizeOptions options;
  options.chat_formatter = [spans](std::span<const ChatMessage> /*none*/) {
    return std::vector<ChatSpan>(spans.begin(), spans.end());
  };
  CHOIR_ASSIGN_OR_RETURN(Document document, TokenizeExample(example, tokenizer, options));
  return std::move(document.tokens);
}

}  // namespace choir::engine
