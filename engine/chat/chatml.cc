// ChatML, as Qwen and others write it:
//   <|im_start|>user\nHello<|im_end|>\n
// Templates may bring a system message of their own (Qwen2, Qwen2.5), and may keep the thinking of
// the turn that is being written and drop that of earlier ones (Qwen3).

#include <algorithm>

#include <fmt/format.h>

#include "engine/chat/chat_family.h"

namespace choir::engine {
namespace {

constexpr std::string_view kControlTokens[] = {"<|im_start|>", "<|im_end|>"};
constexpr std::string_view kEndOfTurn = "<|im_end|>";
constexpr std::string_view kThinkEnd = "</think>";

bool Recognises(std::string_view jinja) {
  // The others are formats that borrow the first token (Phi-4, Kimi).
  return jinja.find("<|im_start|>") != jinja.npos && jinja.find("<|im_end|>") != jinja.npos &&
         jinja.find("<|im_sep|>") == jinja.npos && jinja.find("<|im_middle|>") == jinja.npos;
}

// What stands in a Jinja string literal.
std::string Unescape(std::string_view literal) {
  std::string out;
  for (size_t i = 0; i < literal.size(); ++i) {
    if (literal[i] != '\\' || i + 1 == literal.size()) {
      out += literal[i];
      continue;
    }
    ++i;
    out += literal[i] == 'n' ? '\n' : literal[i];
  }
  return out;
}

// The system message that a template writes where a conversation has none: the one that it spells
// out whole, '<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n'.
std::string DefaultSystem(std::string_view jinja) {
  constexpr std::string_view kOpening = "<|im_start|>system\\n";
  for (size_t at = jinja.find(kOpening); at != jinja.npos; at = jinja.find(kOpening, at)) {
    at += kOpening.size();
    const std::string_view literal = jinja.substr(at, jinja.find(kEndOfTurn, at) - at);
    // A quote ends the literal: what follows is no text but program.
    if (!literal.empty() && literal.find_first_of("'\"") == literal.npos) return Unescape(literal);
  }
  return {};
}

struct Variant {
  std::string default_system;
  bool keeps_thinking = false;  // Qwen3
  bool thinks_first = false;    // the prompt opens the thinking itself (Qwen3-Thinking)
};

// An assistant's message in two: what it thought, and what it said.
struct Thought {
  std::string_view thinking;
  std::string_view said;
};

std::string_view StripLines(std::string_view text) {
  const size_t begin = text.find_first_not_of('\n');
  if (begin == text.npos) return {};
  return text.substr(begin, text.find_last_not_of('\n') - begin + 1);
}

std::string_view WithoutLeadingLines(std::string_view text) {
  return text.substr(std::min(text.size(), text.find_first_not_of('\n')));
}

Thought SplitThought(std::string_view text) {
  constexpr std::string_view kThinkBegin = "<think>";
  const size_t first_end = text.find(kThinkEnd);
  if (first_end == text.npos) return {{}, text};
  std::string_view thinking = text.substr(0, first_end);
  if (const size_t begin = thinking.rfind(kThinkBegin); begin != thinking.npos) {
    thinking.remove_prefix(begin + kThinkBegin.size());
  }
  return {StripLines(thinking),
          WithoutLeadingLines(text.substr(text.rfind(kThinkEnd) + kThinkEnd.size()))};
}

class ChatmlRenderer final : public ChatRenderer {
 public:
  explicit ChatmlRenderer(Variant variant) : variant_(std::move(variant)) {}

  absl::Status Write(std::span<const ChatMessage> messages, ChatWriter& out) const override {
    if (!variant_.default_system.empty() && messages.front().role != "system") {
      out.Markup(fmt::format("<|im_start|>system\n{}<|im_end|>\n", variant_.default_system));
    }
    size_t last_user = messages.size() - 1;
    for (size_t i = 0; i < messages.size(); ++i) {
      if (messages[i].role == "user") last_user = i;
    }
    for (size_t i = 0; i < messages.size(); ++i) {
      out.Markup(fmt::format("<|im_start|>{}\n", messages[i].role));
      if (messages[i].role != "assistant") {
        out.Content(messages[i].content);
        out.Markup("<|im_end|>\n");
        continue;
      }
      WriteAnswer(messages[i].content, i > last_user, i + 1 == messages.size(), out);
      out.AnswerMarkup(kEndOfTurn);
      out.Markup("\n");
    }
    return absl::OkStatus();
  }

  void OpenAnswer(bool think, ChatWriter& out) const override {
    out.Markup("<|im_start|>assistant\n");
    if (variant_.thinks_first && think) out.Markup("<think>\n");
    if (variant_.keeps_thinking && !think) out.Markup("<think>\n\n</think>\n\n");
  }

 private:
  void WriteAnswer(std::string_view content, bool current, bool last, ChatWriter& out) const {
    if (!variant_.keeps_thinking) return out.Answer(content);
    const Thought thought = SplitThought(content);
    if (!current || (!last && thought.thinking.empty())) return out.Answer(thought.said);
    if (thought.thinking.empty()) {
      // Not in the loss: it is what a prompt says that asks for no thinking, and an answer without
      // a thought must not teach the model to stop thinking.
      out.Markup("<think>\n\n</think>\n\n");
    } else {
      if (variant_.thinks_first) {
        out.Markup("<think>\n");
        out.Answer(fmt::format("{}\n", thought.thinking));
      } else {
        out.AnswerMarkup("<think>");
        out.Answer(fmt::format("\n{}\n", thought.thinking));
      }
      out.AnswerMarkup(kThinkEnd);
      out.Answer("\n\n");
    }
    out.Answer(WithoutLeadingLines(thought.said));
  }

  Variant variant_;
};

std::unique_ptr<ChatRenderer> Make(std::string_view jinja) {
  Variant variant;
  variant.default_system = DefaultSystem(jinja);
  variant.keeps_thinking =
      jinja.find("reasoning_content") != jinja.npos && jinja.find("<think>\\n") != jinja.npos;
  variant.thinks_first = jinja.find("<|im_start|>assistant\\n<think>\\n'") != jinja.npos;
  return std::make_unique<ChatmlRenderer>(std::move(variant));
}

}  // namespace

const ChatFamily kChatmlChat = {"chatml", &Recognises, kControlTokens, &Make};

}  // namespace choir::engine
