#ifndef CHOIR_ENGINE_CHAT_CHAT_TEMPLATE_H_
#define CHOIR_ENGINE_CHAT_CHAT_TEMPLATE_H_

// How a model wants conversations written. A model's file carries a Jinja program for it
// (tokenizer.chat_template); Choir runs no programs from files: it recognises the family that the
// program belongs to, and writes that family's format itself.

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/chat/chat_family.h"
#include "engine/gguf/gguf_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/train/dataset.h"

namespace choir::engine {

// The names that ChatTemplate::Choose knows, "auto" first.
std::vector<std::string> ChatFamilyNames();

// Immutable, so thread-safe.
class ChatTemplate {
 public:
  // `family`: one of ChatFamilyNames(). With "auto" the file's own template decides. NOT_FOUND: the
  // file has none. UNIMPLEMENTED: it is of no known family. INVALID_ARGUMENT: no such name.
  // FAILED_PRECONDITION: the vocabulary lacks the family's control tokens.
  static absl::StatusOr<ChatTemplate> Choose(const GgufFile& file, const Tokenizer& tokenizer,
                                             std::string_view family = "auto");

  [[nodiscard]] std::string_view family() const { return family_->name; }

  // A whole conversation, for training: what the assistant writes is in the loss, with the token
  // that ends its turn. INVALID_ARGUMENT: no message, or roles in an order that the family lacks.
  [[nodiscard]] absl::StatusOr<std::vector<ChatSpan>> Conversation(
      std::span<const ChatMessage> messages) const;
  // The same up to where the assistant begins to write. `think` = false asks a model that thinks
  // first to leave that out; others ignore it.
  [[nodiscard]] absl::StatusOr<std::vector<ChatSpan>> Prompt(std::span<const ChatMessage> messages,
                                                             bool think = true) const;
  // Text that ends an answer where the family has no token of its own for it.
  [[nodiscard]] std::vector<std::string> StopStrings() const;

 private:
  ChatTemplate(const ChatFamily& family, std::shared_ptr<const ChatRenderer> renderer)
      : family_(&family), renderer_(std::move(renderer)) {}

  const ChatFamily* family_;
  // Shared, because formatters are copied.
  std::shared_ptr<const ChatRenderer> renderer_;
};

// What TokenizeOptions wants. If no template can be chosen, the formatter answers with that error:
// it matters only to data that has conversations.
ChatFormatter MakeChatFormatter(const GgufFile& file, const Tokenizer& tokenizer,
                                std::string_view family = "auto");

// The tokens of spans, in which control tokens of the markup are recognised and the content's are
// not; BOS once, where the model wants it.
absl::StatusOr<std::vector<int32_t>> TokenizeChat(std::span<const ChatSpan> spans,
                                                  const Tokenizer& tokenizer);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_CHAT_CHAT_TEMPLATE_H_
