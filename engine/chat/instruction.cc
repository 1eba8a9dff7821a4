// The [INST] formats: Llama 2 (Touvron et al. 2023, and Meta's chat_completion) and the first
// Mistral Instruct models.
//   <s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHello [/INST] Hi. </s><s>[INST] ...
//   <s>[INST] Hello [/INST]Hi.</s>[INST] ...

#include <fmt/format.h>

#include "engine/chat/chat_family.h"

namespace choir::engine {
namespace {

constexpr std::string_view kControlTokens[] = {"<s>", "</s>"};

bool RecognisesLlama2(std::string_view jinja) {
  return jinja.find("[INST]") != jinja.npos && jinja.find("<<SYS>>") != jinja.npos;
}

bool RecognisesMistral(std::string_view jinja) {
  // Spelled like this, spaces included: Mistral's later formats differ in just those.
  return jinja.find("'[INST] ' + message['content'] + ' [/INST]'") != jinja.npos &&
         jinja.find("<<SYS>>") == jinja.npos && jinja.find("[SYSTEM_PROMPT]") == jinja.npos &&
         jinja.find("[AVAILABLE_TOOLS]") == jinja.npos;
}

// The space before an answer's text belongs to the answer's first word, and so to what the
// assistant writes.
class Llama2Renderer final : public ChatRenderer {
 public:
  absl::Status Write(std::span<const ChatMessage> messages, ChatWriter& out) const override {
    if (absl::Status status = CheckAlternation(messages, true); !status.ok()) return status;
    std::string_view system;
    if (messages.front().role == "system") {
      system = messages.front().content;
      messages = messages.subspan(1);
    }
    for (size_t i = 0; i < messages.size(); ++i) {
      const std::string_view content = Trim(messages[i].content);
      if (messages[i].role == "assistant") {
        out.Answer(fmt::format(" {} ", content));
        out.AnswerMarkup("</s>");
        continue;
      }
      out.Markup("<s>[INST]");
      if (i == 0 && !system.empty()) {
        out.Content(fmt::format(" <<SYS>>\n{}\n<</SYS>>\n\n{}", system, content));
      } else {
        out.Content(fmt::format(" {}", content));
      }
      out.Markup(" [/INST]");
    }
    return absl::OkStatus();
  }

  void OpenAnswer(bool /*think*/, ChatWriter& /*out*/) const override {}
};

class MistralRenderer final : public ChatRenderer {
 public:
  MistralRenderer(bool space_before_answer, bool space_after_end)
      : before_answer_(space_before_answer ? " " : ""), after_end_(space_after_end ? " " : "") {}

  absl::Status Write(std::span<const ChatMessage> messages, ChatWriter& out) const override {
    if (absl::Status status = CheckAlternation(messages, false); !status.ok()) return status;
    out.Markup("<s>");
    for (const ChatMessage& message : messages) {
      if (message.role == "assistant") {
        out.Answer(before_answer_ + message.content);
        out.AnswerMarkup("</s>");
        out.Markup(after_end_);
      } else {
        out.Markup("[INST]");
        out.Content(fmt::format(" {}", message.content));
        out.Markup(" [/INST]");
      }
    }
    return absl::OkStatus();
  }

  void OpenAnswer(bool /*think*/, ChatWriter& /*out*/) const override {}

 private:
  std::string before_answer_;
  std::string after_end_;
};

std::unique_ptr<ChatRenderer> MakeLlama2(std::string_view /*jinja*/) {
  return std::make_unique<Llama2Renderer>();
}

std::unique_ptr<ChatRenderer> MakeMistral(std::string_view jinja) {
  return std::make_unique<MistralRenderer>(jinja.find("' ' + message['content']") != jinja.npos,
                                           jinja.find("eos_token + ' '") != jinja.npos);
}

}  // namespace

const ChatFamily kLlama2Chat = {"llama2", &RecognisesLlama2, kControlTokens, &MakeLlama2};
const ChatFamily kMistralChat = {"mistral", &RecognisesMistral, kControlTokens, &MakeMistral};

}  // namespace choir::engine
