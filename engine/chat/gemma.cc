// Gemma's format (Google, "Gemma formatting and system instructions"):
//   <bos><start_of_turn>user\nHello<end_of_turn>\n<start_of_turn>model\n
// There is no system turn: Gemma 3 puts the system's text before the first user's, Gemma 1 and 2
// refuse it.

#include <fmt/format.h>

#include "engine/chat/chat_family.h"

namespace choir::engine {
namespace {

constexpr std::string_view kControlTokens[] = {"<bos>", "<start_of_turn>", "<end_of_turn>"};

bool Recognises(std::string_view jinja) {
  return jinja.find("<start_of_turn>") != jinja.npos && jinja.find("<end_of_turn>") != jinja.npos;
}

class GemmaRenderer final : public ChatRenderer {
 public:
  explicit GemmaRenderer(bool takes_system) : takes_system_(takes_system) {}

  absl::Status Write(std::span<const ChatMessage> messages, ChatWriter& out) const override {
    if (absl::Status status = CheckAlternation(messages, takes_system_); !status.ok()) {
      return status;
    }
    out.Markup("<bos>");
    std::string prefix;
    if (messages.front().role == "system") {
      prefix = messages.front().content + "\n\n";
      messages = messages.subspan(1);
    }
    for (const ChatMessage& message : messages) {
      if (message.role == "assistant") {
        OpenAnswer(false, out);
        out.Answer(Trim(message.content));
        out.AnswerMarkup("<end_of_turn>");
        out.Markup("\n");
      } else {
        out.Markup("<start_of_turn>user\n");
        out.Content(prefix);
        out.Content(Trim(message.content));
        out.Markup("<end_of_turn>\n");
        prefix.clear();
      }
    }
    return absl::OkStatus();
  }

  void OpenAnswer(bool /*think*/, ChatWriter& out) const override {
    out.Markup("<start_of_turn>model\n");
  }

 private:
  bool takes_system_;
};

std::unique_ptr<ChatRenderer> Make(std::string_view jinja) {
  return std::make_unique<GemmaRenderer>(jinja.find("System role not supported") == jinja.npos);
}

}  // namespace

const ChatFamily kGemmaChat = {"gemma", &Recognises, kControlTokens, &Make};

}  // namespace choir::engine
