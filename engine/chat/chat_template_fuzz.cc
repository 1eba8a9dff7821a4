#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "engine/chat/chat_template.h"
#include "tests/support/vocabulary_builder.h"

namespace choir::engine {
namespace {

choir::VocabularyBuilder AllTokens() {
  VocabularyBuilder builder = VocabularyBuilder::ByteLevel("qwen2");
  for (const char* token :
       {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
        "<|im_start|>", "<|im_end|>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<s>", "</s>"}) {
    builder.Add(token, 0.0f, 3);
  }
  return builder;
}

// One message a line: its first byte chooses the role.
std::vector<ChatMessage> ParseMessages(std::string_view text) {
  constexpr std::string_view kRoles[] = {"user", "assistant", "system", "tool"};
  std::vector<ChatMessage> out;
  while (!text.empty() && out.size() < 16) {
    const size_t end = text.find('\n');
    const std::string_view line = text.substr(0, end);
    if (!line.empty()) {
      const size_t role = static_cast<uint8_t>(line[0]) % 4;
      out.push_back({std::string(kRoles[role]), std::string(line.substr(1))});
    }
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  }
  return out;
}

void Use(const ChatTemplate& chat, const Tokenizer& tokenizer,
         std::span<const ChatMessage> messages) {
  for (const bool prompt : {false, true}) {
    const auto spans = prompt ? chat.Prompt(messages, false) : chat.Conversation(messages);
    if (!spans.ok()) continue;
    CHOIR_CHECK(TokenizeChat(*spans, tokenizer).ok());
  }
}

}  // namespace
}  // namespace choir::engine

// Any template (up to the first zero byte) and any conversation (after it) are errors or tokens.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace choir::engine;
  const std::string_view input = choir::AsChars({data, size});
  const size_t end = std::min(input.size(), input.find('\0'));
  choir::VocabularyBuilder builder = AllTokens();
  builder.chat_template = input.substr(0, end);
  const std::string bytes = builder.Build();
  const GgufFile file = *GgufFile::Parse(choir::AsBytes(bytes));
  const std::unique_ptr<Tokenizer> tokenizer = *LoadTokenizer(file);
  const auto messages = ParseMessages(input.substr(std::min(input.size(), end + 1)));
  for (const std::string& family : ChatFamilyNames()) {
    const auto chat = ChatTemplate::Choose(file, *tokenizer, family);
    if (chat.ok()) Use(*chat, *tokenizer, messages);
  }
  return 0;
}
