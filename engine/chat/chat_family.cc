#include "engine/chat/chat_family.h"

#include <fmt/format.h>

namespace choir::engine {

void ChatWriter::Add(std::string_view text, bool markup, bool in_loss) {
  if (text.empty()) return;
  if (!spans_.empty() && spans_.back().markup == markup && spans_.back().in_loss == in_loss) {
    spans_.back().text += text;
  } else {
    spans_.push_back({std::string(text), markup, in_loss});
  }
}

std::string_view Trim(std::string_view text) {
  constexpr std::string_view kSpace = " \t\n\r\f\v";
  const size_t begin = text.find_first_not_of(kSpace);
  if (begin == std::string_view::npos) return {};
  return text.substr(begin, text.find_last_not_of(kSpace) - begin + 1);
}

absl::Status CheckAlternation(std::span<const ChatMessage> messages, bool system_first) {
  const bool has_system = messages.front().role == "system";
  if (has_system && !system_first) {
    return absl::InvalidArgumentError("this model's chat template has no system message");
  }
  const size_t first = has_system ? 1 : 0;
  if (first == messages.size()) {
    return absl::InvalidArgumentError("the conversation has nothing but a system message");
  }
  for (size_t i = first; i < messages.size(); ++i) {
    const std::string_view wanted = (i - first) % 2 == 0 ? "user" : "assistant";
    if (messages[i].role == wanted) continue;
    return absl::InvalidArgumentError(
        fmt::format("message {} is by \"{}\", and this model's chat template wants \"{}\" there: "
                    "users and assistants take turns",
                    i + 1, messages[i].role, wanted));
  }
  return absl::OkStatus();
}

}  // namespace choir::engine
