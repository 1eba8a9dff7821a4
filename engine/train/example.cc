#include "engine/train/example.h"

#include <optional>

#include <fmt/format.h>

#include "base/status_macros.h"
#include <nlohmann/json.hpp>

namespace choir::engine {
namespace {

using Json = nlohmann::json;
constexpr int kMaxJsonDepth = 32;

// A parsed line; discarded() if it is no JSON, or nested so deeply that it is an attack.
Json ParseJson(std::string_view line) {
  bool too_deep = false;
  const auto bound_depth = [&too_deep](int depth, Json::parse_event_t, Json&) {
    too_deep = too_deep || depth > kMaxJsonDepth;
    return depth <= kMaxJsonDepth;
  };
  Json json = Json::parse(line, bound_depth, /*allow_exceptions=*/false);
  return too_deep ? Json(Json::value_t::discarded) : json;
}

// The string field `name`; nothing if it is absent.
absl::StatusOr<std::optional<std::string>> StringField(const Json& object, const char* name) {
  const auto field = object.find(name);
  if (field == object.end()) return std::optional<std::string>();
  if (!field->is_string()) {
    return absl::InvalidArgumentError(fmt::format("\"{}\" is no string", name));
  }
  return std::optional<std::string>(field->get<std::string>());
}

absl::StatusOr<std::vector<ChatMessage>> ParseMessages(const Json& array) {
  if (!array.is_array() || array.empty()) {
    return absl::InvalidArgumentError("\"messages\" is no list, or an empty one");
  }
  std::vector<ChatMessage> messages;
  for (const Json& item : array) {
    if (!item.is_object()) return absl::InvalidArgumentError("a message is no object");
    CHOIR_ASSIGN_OR_RETURN(const std::optional<std::string> role, StringField(item, "role"));
    CHOIR_ASSIGN_OR_RETURN(const std::optional<std::string> content, StringField(item, "content"));
    if (!role.has_value() || role->empty() || !content.has_value()) {
      return absl::InvalidArgumentError("a message lacks its \"role\" or \"content\"");
    }
    messages.push_back({*role, *content});
  }
  return messages;
}

absl::StatusOr<Example> ParseObject(const Json& json) {
  Example example;
  CHOIR_ASSIGN_OR_RETURN(const auto text, StringField(json, "text"));
  CHOIR_ASSIGN_OR_RETURN(const auto prompt, StringField(json, "prompt"));
  CHOIR_ASSIGN_OR_RETURN(const auto completion, StringField(json, "completion"));
  example.text = text.value_or("");
  if (const auto messages = json.find("messages"); messages != json.end()) {
    example.form = Example::Form::kMessages;
    CHOIR_ASSIGN_OR_RETURN(example.messages, ParseMessages(*messages));
    return example;
  }
  if (prompt.has_value() != completion.has_value()) {
    return absl::InvalidArgumentError("only one of \"prompt\" and \"completion\" is there");
  }
  if (prompt.has_value()) {
    if (completion->empty()) return absl::InvalidArgumentError("\"completion\" is empty");
    example.form = Example::Form::kPromptCompletion;
    example.prompt = *prompt;
    example.completion = *completion;
    return example;
  }
  if (!text.has_value()) {
    return absl::InvalidArgumentError(
        "there is no \"text\", no \"prompt\" with \"completion\", and no \"messages\"");
  }
  if (text->empty()) return absl::InvalidArgumentError("\"text\" is empty");
  return example;
}

}  // namespace

absl::StatusOr<Example> ParseExample(std::string_view line) {
  const Json json = ParseJson(line);
  if (json.is_discarded()) {
    return absl::InvalidArgumentError(
        fmt::format("this is no JSON in UTF-8 of at most {} levels", kMaxJsonDepth));
  }
  if (!json.is_object()) return absl::InvalidArgumentError("this is no JSON object");
  return ParseObject(json);
}

}  // namespace choir::engine
