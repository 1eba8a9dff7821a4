// Llama 3's format (Meta, "Llama 3 model cards and prompt formats"):
//   <|begin_of_text|><|start_header_id|>user<|end_header_id|>\n\nHello<|eot_id|>
// Llama 3.1's and later templates open with a system message of dates, whether there is one or not.

#include <fmt/format.h>

#include "engine/chat/chat_family.h"

namespace choir::engine {
namespace {

constexpr std::string_view kControlTokens[] = {"<|begin_of_text|>", "<|start_header_id|>",
                                               "<|end_header_id|>", "<|eot_id|>"};
constexpr std::string_view kKnowledgeDate = "Cutting Knowledge Date: December 2023\\n";
// The templates' own default where no clock is given: training and chat must see the same text, on
// every device and every day.
constexpr std::string_view kDates =
    "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";

bool Recognises(std::string_view jinja) {
  return jinja.find("<|start_header_id|>") != jinja.npos &&
         jinja.find("<|end_header_id|>") != jinja.npos && jinja.find("<|eot_id|>") != jinja.npos;
}

class Llama3Renderer final : public ChatRenderer {
 public:
  explicit Llama3Renderer(bool dates) : dates_(dates) {}

  absl::Status Write(std::span<const ChatMessage> messages, ChatWriter& out) const override {
    out.Markup("<|begin_of_text|>");
    if (dates_) {
      Header("system", out);
      out.Markup(kDates);
      if (messages.front().role == "system") {
        out.Content(Trim(messages.front().content));
        messages = messages.subspan(1);
      }
      out.Markup("<|eot_id|>");
    }
    for (const ChatMessage& message : messages) {
      Header(message.role, out);
      if (message.role == "assistant") {
        out.Answer(Trim(message.content));
        out.AnswerMarkup("<|eot_id|>");
      } else {
        out.Content(Trim(message.content));
        out.Markup("<|eot_id|>");
      }
    }
    return absl::OkStatus();
  }

  void OpenAnswer(bool /*think*/, ChatWriter& out) const override { Header("assistant", out); }

 private:
  static void Header(std::string_view role, ChatWriter& out) {
    out.Markup(fmt::format("<|start_header_id|>{}<|end_header_id|>\n\n", role));
  }

  bool dates_;
};

std::unique_ptr<ChatRenderer> Make(std::string_view jinja) {
  return std::make_unique<Llama3Renderer>(jinja.find(kKnowledgeDate) != jinja.npos);
}

}  // namespace

const ChatFamily kLlama3Chat = {"llama3", &Recognises, kControlTokens, &Make};

}  // namespace choir::engine
