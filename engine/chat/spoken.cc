// Formats in which each turn begins with its speaker's name: BitNet b1.58 2B4T's
//   User: Hello<|eot_id|>Assistant: Hi.<|eot_id|>
// and, for models without a format of their own, a plain one that must be asked for by name:
//   User: Hello\n###\nAssistant: Hi.\n###\n

#include <fmt/format.h>

#include "engine/chat/chat_family.h"

namespace choir::engine {
namespace {

constexpr std::string_view kBitnetTokens[] = {"<|eot_id|>"};

std::string_view NameOf(std::string_view role) {
  if (role == "assistant") return "Assistant";
  return role == "user" ? "User" : "System";
}

bool RecognisesBitnet(std::string_view jinja) {
  return jinja.find("capitalize") != jinja.npos && jinja.find("<|eot_id|>") != jinja.npos &&
         jinja.find("'Assistant: '") != jinja.npos;
}

// The space after the colon belongs to the first word, in the tokens as in what the assistant
// writes: a prompt that ended with it would be cut as no text ever was.
class BitnetRenderer final : public ChatRenderer {
 public:
  absl::Status Write(std::span<const ChatMessage> messages, ChatWriter& out) const override {
    for (const ChatMessage& message : messages) {
      out.Markup(fmt::format("{}:", NameOf(message.role)));
      const std::string content = fmt::format(" {}", Trim(message.content));
      if (message.role == "assistant") {
        out.Answer(content);
        out.AnswerMarkup("<|eot_id|>");
      } else {
        out.Content(content);
        out.Markup("<|eot_id|>");
      }
    }
    return absl::OkStatus();
  }

  void OpenAnswer(bool /*think*/, ChatWriter& out) const override { out.Markup("Assistant:"); }
};

// Needs no control token: a turn ends with a line of three signs, which every model can write.
class PlainRenderer final : public ChatRenderer {
 public:
  absl::Status Write(std::span<const ChatMessage> messages, ChatWriter& out) const override {
    for (const ChatMessage& message : messages) {
      out.Markup(fmt::format("{}:", NameOf(message.role)));
      const std::string content = fmt::format(" {}", Trim(message.content));
      if (message.role == "assistant") {
        out.Answer(content + std::string(kEnd));
      } else {
        out.Content(content);
        out.Markup(kEnd);
      }
    }
    return absl::OkStatus();
  }

  void OpenAnswer(bool /*think*/, ChatWriter& out) const override { out.Markup("Assistant:"); }

  [[nodiscard]] std::vector<std::string> StopStrings() const override {
    return {std::string(kEnd), "\nUser:"};
  }

 private:
  static constexpr std::string_view kEnd = "\n###\n";
};

std::unique_ptr<ChatRenderer> MakeBitnet(std::string_view /*jinja*/) {
  return std::make_unique<BitnetRenderer>();
}

std::unique_ptr<ChatRenderer> MakePlain(std::string_view /*jinja*/) {
  return std::make_unique<PlainRenderer>();
}

}  // namespace

const ChatFamily kBitnetChat = {"bitnet", &RecognisesBitnet, kBitnetTokens, &MakeBitnet};
const ChatFamily kPlainChat = {"plain", nullptr, {}, &MakePlain};

}  // namespace choir::engine
