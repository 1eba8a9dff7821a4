#ifndef CHOIR_ENGINE_CHAT_CHAT_FAMILY_H_
#define CHOIR_ENGINE_CHAT_CHAT_FAMILY_H_

// What a family of chat formats is. To add one: write engine/chat/<family>.cc with a
// `const ChatFamily k<Name>Chat`, and add its line to chat_families.def.

#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"

#include "engine/train/dataset.h"

namespace choir::engine {

// Collects the spans of a conversation; neighbours of one kind become one span.
class ChatWriter {
 public:
  void Markup(std::string_view text) { Add(text, true, false); }
  void Content(std::string_view text) { Add(text, false, false); }
  // What the assistant writes.
  void Answer(std::string_view text) { Add(text, false, true); }
  // Control tokens that it writes too, as the one that ends its turn.
  void AnswerMarkup(std::string_view text) { Add(text, true, true); }

  [[nodiscard]] std::vector<ChatSpan> Take() { return std::move(spans_); }

 private:
  void Add(std::string_view text, bool markup, bool in_loss);

  std::vector<ChatSpan> spans_;
};

// Writes conversations in one format. Roles are "system", "user" and "assistant" only: checked
// before.
class ChatRenderer {
 public:
  virtual ~ChatRenderer() = default;
  virtual absl::Status Write(std::span<const ChatMessage> messages, ChatWriter& out) const = 0;
  // Opens the turn that the assistant is to write.
  virtual void OpenAnswer(bool think, ChatWriter& out) const = 0;
  [[nodiscard]] virtual std::vector<std::string> StopStrings() const { return {}; }
};

struct ChatFamily {
  std::string_view name;
  // True if this Jinja program writes the family's format. Null for one that is only ever named.
  bool (*recognises)(std::string_view jinja);
  // What must be a token of the vocabulary.
  std::span<const std::string_view> control_tokens;
  // `jinja`: for the variants within a family; may be empty.
  std::unique_ptr<ChatRenderer> (*make)(std::string_view jinja);
};

// Without the white space around it, as Jinja's trim.
std::string_view Trim(std::string_view text);

// INVALID_ARGUMENT unless users and assistants take turns, a user first; `system_first`: a system
// message may stand before them.
absl::Status CheckAlternation(std::span<const ChatMessage> messages, bool system_first);

#define CHOIR_CHAT_FAMILY(Name) extern const ChatFamily k##Name##Chat;
#include "engine/chat/chat_families.def"
#undef CHOIR_CHAT_FAMILY

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_CHAT_CHAT_FAMILY_H_
