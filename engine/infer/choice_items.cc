#include "engine/infer/choice_items.h"

#include <algorithm>
#include <cctype>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include <nlohmann/json.hpp>

namespace choir::engine {
namespace {

using Json = nlohmann::json;

constexpr int kMaxJsonDepth = 32;
constexpr uint64_t kMaxFileBytes = uint64_t{1} << 30;
constexpr size_t kMaxLineBytes = size_t{16} << 20;
constexpr size_t kMaxItems = size_t{1} << 20;
constexpr size_t kMaxQuotedBytes = 40;

char Lower(char c) {
  return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

bool EqualIgnoringCase(std::string_view a, std::string_view b) {
  return std::equal(a.begin(), a.end(), b.begin(), b.end(),
                    [](char x, char y) { return Lower(x) == Lower(y); });
}

std::string_view Trimmed(std::string_view text) {
  constexpr std::string_view kSpace = " \t\r\n";
  const size_t first = text.find_first_not_of(kSpace);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kSpace) - first + 1);
}

bool IsWordByte(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0 || (static_cast<uint8_t>(c) & 0x80) != 0;
}

std::string ListOf(std::span<const std::string> choices) {
  std::string list;
  for (const std::string& choice : choices) list += (list.empty() ? "" : ", ") + choice;
  return list;
}

// The longest choice that `text` begins with, as a whole word.
std::optional<size_t> ChoiceAtStart(std::string_view text, std::span<const std::string> choices) {
  std::optional<size_t> found;
  text = Trimmed(text);
  for (size_t i = 0; i < choices.size(); ++i) {
    const std::string& choice = choices[i];
    if (text.size() < choice.size()) continue;
    if (!EqualIgnoringCase(text.substr(0, choice.size()), choice)) continue;
    if (text.size() > choice.size() && IsWordByte(text[choice.size()])) continue;
    if (!found.has_value() || choice.size() > choices[*found].size()) found = i;
  }
  return found;
}

absl::StatusOr<std::string> StringField(const Json& object, const char* name) {
  const auto field = object.find(name);
  if (field == object.end()) return std::string();
  if (field->is_string()) return field->get<std::string>();
  return absl::InvalidArgumentError(fmt::format("\"{}\" is no string", name));
}

absl::StatusOr<Json> ParseObject(std::string_view line) {
  bool too_deep = false;
  const auto bound_depth = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxJsonDepth;
    return depth <= kMaxJsonDepth;
  };
  Json json = Json::parse(line, bound_depth, /*allow_exceptions=*/false);
  if (too_deep || !json.is_object()) {
    return absl::InvalidArgumentError("the line is no JSON object");
  }
  return json;
}

// The item without its answer; `written` is what stands where the answer is expected.
absl::StatusOr<ChoiceItem> PromptOf(const Json& json, std::string_view line,
                                    const ChoiceItemOptions& options, std::string& written) {
  ChoiceItem item;
  CHOIR_ASSIGN_OR_RETURN(item.prompt, StringField(json, "prompt"));
  if (json.contains("messages") && (options.prefer_messages || item.prompt.empty())) {
    item.prompt.clear();
    CHOIR_ASSIGN_OR_RETURN(Example example, ParseExample(line));
    item.messages = std::move(example.messages);
    if (item.messages.back().role == "assistant") {
      written = std::move(item.messages.back().content);
      item.messages.pop_back();
    }
    if (!item.messages.empty()) return item;
    return absl::InvalidArgumentError("there is no message before the answer");
  }
  if (!item.prompt.empty()) {
    CHOIR_ASSIGN_OR_RETURN(written, StringField(json, "completion"));
    return item;
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string text, StringField(json, "text"));
  if (text.empty()) {
    return absl::InvalidArgumentError("there is no \"prompt\", no \"messages\" and no \"text\"");
  }
  size_t mark = text.starts_with(options.answer_mark) ? 0 : text.find("\n" + options.answer_mark);
  if (mark == std::string::npos) {
    return absl::InvalidArgumentError(
        fmt::format("the text has no line that begins with '{}', where the answer would be",
                    options.answer_mark));
  }
  mark = text.find(options.answer_mark, mark) + options.answer_mark.size();
  const size_t end = std::min(text.find_first_not_of(" \t", mark), text.size());
  item.prompt = text.substr(0, mark);
  item.gap = text.substr(mark, end - mark);
  written = text.substr(end);
  return item;
}

}  // namespace

absl::Status CheckChoices(std::span<const std::string> choices) {
  if (choices.size() < 2) {
    return absl::InvalidArgumentError("there must be two choices or more, as in yes,no,maybe");
  }
  for (size_t i = 0; i < choices.size(); ++i) {
    if (Trimmed(choices[i]).empty() || Trimmed(choices[i]) != choices[i]) {
      return absl::InvalidArgumentError("a choice is empty, or has spaces around it");
    }
    for (size_t j = 0; j < i; ++j) {
      if (!EqualIgnoringCase(choices[i], choices[j])) continue;
      return absl::InvalidArgumentError(
          fmt::format("{} and {} are the same choice", choices[j], choices[i]));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<ChoiceItem> ParseChoiceItem(std::string_view line,
                                           const ChoiceItemOptions& options) {
  if (line.size() > kMaxLineBytes) {
    return absl::InvalidArgumentError(
        fmt::format("the line has {} bytes; at most {} are read", line.size(), kMaxLineBytes));
  }
  CHOIR_ASSIGN_OR_RETURN(const Json json, ParseObject(line));
  std::string written;
  CHOIR_ASSIGN_OR_RETURN(ChoiceItem item, PromptOf(json, line, options, written));
  CHOIR_ASSIGN_OR_RETURN(std::string answer, StringField(json, "answer"));
  if (answer.empty()) {
    CHOIR_ASSIGN_OR_RETURN(answer, StringField(json, "label"));
  }
  const bool stated = !answer.empty();
  const std::optional<size_t> index = ChoiceAtStart(stated ? answer : written, options.choices);
  const std::string choices = ListOf(options.choices);
  if (!stated && !index.has_value()) {
    return absl::InvalidArgumentError(fmt::format(
        "there is no \"answer\" or \"label\", and what follows the prompt begins with none of the "
        "choices {}",
        choices));
  }
  if (!index.has_value() || (Trimmed(answer).size() != options.choices[*index].size() && stated)) {
    if (answer.size() > kMaxQuotedBytes) answer = fmt::format("of {} bytes", answer.size());
    return absl::InvalidArgumentError(
        fmt::format("the answer '{}' is none of the choices {}", answer, choices));
  }
  item.answer = *index;
  return item;
}

absl::StatusOr<std::vector<ChoiceItem>> ReadChoiceItems(const std::string& path,
                                                        const ChoiceItemOptions& options,
                                                        ChoiceItemReport& report) {
  CHOIR_RETURN_IF_ERROR(CheckChoices(options.choices));
  CHOIR_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(path, kMaxFileBytes));
  std::string_view text = bytes;
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // byte order mark
  std::vector<ChoiceItem> items;
  for (uint64_t number = 1; !text.empty(); ++number) {
    const std::string_view line = text.substr(0, text.find('\n'));
    text.remove_prefix(std::min(line.size() + 1, text.size()));
    if (Trimmed(line).empty()) continue;
    absl::StatusOr<ChoiceItem> item = ParseChoiceItem(line, options);
    if (item.ok()) {
      item->line = number;
      items.push_back(*std::move(item));
    } else if (!options.skip_bad_lines) {
      return absl::InvalidArgumentError(
          fmt::format("{}:{}: {}", path, number, std::string(item.status().message())));
    } else if (report.bad_lines++ == 0) {
      report.first_bad_line = number;
      report.first_reason = std::string(item.status().message());
    }
    if (items.size() > kMaxItems) {
      return absl::ResourceExhaustedError(
          fmt::format("{} has more than {} items", path, kMaxItems));
    }
  }
  if (!items.empty()) return items;
  return absl::InvalidArgumentError(fmt::format("{} has no item that could be read", path));
}

absl::StatusOr<ChoiceTokens> TokenizeChoices(const ChoiceItem& item,
                                             std::span<const std::string> choices,
                                             const Tokenizer& tokenizer,
                                             const PromptFormatter& formatter) {
  ChoiceTokens result;
  for (const std::string& choice : choices) {
    Example example;
    TokenizeOptions options{.train_on = TrainOn::kCompletion, .append_eos = false};
    if (item.messages.empty()) {
      example.form = Example::Form::kPromptCompletion;
      example.prompt = item.prompt;
      example.completion = item.gap + choice;
    } else {
      example.form = Example::Form::kMessages;
      CHOIR_ASSIGN_OR_RETURN(std::vector<ChatSpan> spans, formatter(item.messages));
      spans.push_back({choice, false, true});
      options.chat_formatter = [&spans](std::span<const ChatMessage> /*none*/) { return spans; };
    }
    CHOIR_ASSIGN_OR_RETURN(const Document document, TokenizeExample(example, tokenizer, options));
    const auto split =
        std::find(document.in_loss.begin(), document.in_loss.end(), 1) - document.in_loss.begin();
    const auto begin = document.tokens.begin();
    if (split == 0 || split == static_cast<std::ptrdiff_t>(document.tokens.size())) {
      return absl::InvalidArgumentError(
          fmt::format("prompt and '{}' have {} tokens, {} before the choice: both need one", choice,
                      document.tokens.size(), split));
    }
    result.prompt.assign(begin, begin + split);
    result.choices.emplace_back(begin + split, document.tokens.end());
  }
  return result;
}

}  // namespace choir::engine
