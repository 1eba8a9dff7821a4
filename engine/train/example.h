#ifndef CHOIR_ENGINE_TRAIN_EXAMPLE_H_
#define CHOIR_ENGINE_TRAIN_EXAMPLE_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace choir::engine {

struct ChatMessage {
  std::string role;  // "system", "user", "assistant", ...
  std::string content;
};

// One training example as its author wrote it, in one of three forms. `text` may be there beside
// the other forms: it is what TokenizeJoined takes.
struct Example {
  enum class Form { kText, kPromptCompletion, kMessages };
  Form form = Form::kText;
  std::string text = {};
  std::string prompt = {};
  std::string completion = {};
  std::vector<ChatMessage> messages = {};
};

// One line of JSONL: {"text"}, {"prompt","completion"} or {"messages":[{"role","content"}]}; other
// fields are ignored. A record with several forms counts as messages before prompt before text.
// INVALID_ARGUMENT says what is wrong, without quoting the line.
absl::StatusOr<Example> ParseExample(std::string_view line);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_EXAMPLE_H_
