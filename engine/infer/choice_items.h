#ifndef CHOIR_ENGINE_INFER_CHOICE_ITEMS_H_
#define CHOIR_ENGINE_INFER_CHOICE_ITEMS_H_

// Questions with one right answer among a few given choices, read from JSONL.

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/tokenizer/tokenizer.h"
#include "engine/train/dataset.h"

namespace choir::engine {

struct ChoiceItem {
  // What comes before the answer, in one of two forms: a text ...
  std::string prompt;
  std::string gap;  // between the prompt and the answer: the space after "A:", or nothing
  // ... or, not empty, the messages of a conversation whose next one is the assistant's.
  std::vector<ChatMessage> messages;
  size_t answer = 0;  // index into the choices
  uint64_t line = 0;  // of its file, from 1
};

struct ChoiceItemOptions {
  std::vector<std::string> choices;  // at least 2, different even in one case
  // Where an item is a text only, its prompt ends with the first line that begins with this.
  std::string answer_mark = "A:";
  // Items that have messages and also a prompt: which of them to take.
  bool prefer_messages = true;
  bool skip_bad_lines = false;
};

struct ChoiceItemReport {
  uint64_t bad_lines = 0;
  uint64_t first_bad_line = 0;
  std::string first_reason;
};

// INVALID_ARGUMENT: fewer than two choices, an empty one, or two that differ in case only.
absl::Status CheckChoices(std::span<const std::string> choices);

// One record: {"messages"}, {"prompt"} or {"text"}, with the answer in "answer" or "label", or else
// at the beginning of "completion", of the assistant's last message, or of what follows the
// answer mark. Case does not matter; after a choice there must be an end or no letter or digit.
// INVALID_ARGUMENT says what is wrong; it quotes a short answer that is no choice, nothing else.
absl::StatusOr<ChoiceItem> ParseChoiceItem(std::string_view line, const ChoiceItemOptions& options);

// All lines of a file. INVALID_ARGUMENT: "FILE:LINE: reason" of the first bad one, or no item.
absl::StatusOr<std::vector<ChoiceItem>> ReadChoiceItems(const std::string& path,
                                                        const ChoiceItemOptions& options,
                                                        ChoiceItemReport& report);

// Writes a prompt of messages as the model wants it, up to where the assistant begins.
using PromptFormatter =
    std::function<absl::StatusOr<std::vector<ChatSpan>>(std::span<const ChatMessage>)>;

struct ChoiceTokens {
  std::vector<int32_t> prompt;
  std::vector<std::vector<int32_t>> choices;  // as they follow the prompt
};

// Prompt and choices are tokenised apart, as in training. INVALID_ARGUMENT: nothing before the
// answer, or a choice without tokens.
absl::StatusOr<ChoiceTokens> TokenizeChoices(const ChoiceItem& item,
                                             std::span<const std::string> choices,
                                             const Tokenizer& tokenizer,
                                             const PromptFormatter& formatter);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_INFER_CHOICE_ITEMS_H_
