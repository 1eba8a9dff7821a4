// From examples to tokenised documents: the second half of dataset.h.

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/train/dataset.h"

namespace choir::engine {
namespace {

// Builds one document stretch by stretch.
class DocumentBuilder {
 public:
  explicit DocumentBuilder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  absl::Status Append(std::string_view text, bool parse_special, bool in_loss) {
    CHOIR_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                           tokenizer_.Encode(text, {.add_special = false,
                                                    .parse_special = parse_special,
                                                    .continuation = has_text_}));
    for (const int32_t id : ids) AppendToken(id, in_loss);
    if (ids.empty()) return absl::OkStatus();
    // After a control token a text begins anew, as it does within one text.
    CHOIR_ASSIGN_OR_RETURN(const std::string last, tokenizer_.Piece(ids.back()));
    has_text_ = !last.empty();
    return absl::OkStatus();
  }

  void AppendToken(int32_t id, bool in_loss) {
    document_.tokens.push_back(id);
    document_.in_loss.push_back(in_loss ? 1 : 0);
  }

  void AppendBos() {
    const SpecialTokens& special = tokenizer_.special();
    if (special.add_bos) AppendToken(*special.bos, false);
  }

  void AppendEos() {
    const SpecialTokens& special = tokenizer_.special();
    if (special.eos.has_value()) AppendToken(*special.eos, true);
  }

  // A template that writes BOS itself must not get a second one.
  void DropRepeatedBos() {
    const std::vector<int32_t>& tokens = document_.tokens;
    const SpecialTokens& special = tokenizer_.special();
    if (tokens.size() < 2 || tokens[0] != special.bos || tokens[1] != special.bos) return;
    document_.tokens.erase(document_.tokens.begin());
    document_.in_loss.erase(document_.in_loss.begin());
  }

  Document Finish() {
    if (!document_.in_loss.empty()) document_.in_loss[0] = 0;
    return std::move(document_);
  }

 private:
  const Tokenizer& tokenizer_;
  Document document_;
  bool has_text_ = false;
};

absl::Status AppendMessages(const Example& example, const TokenizeOptions& options,
                            DocumentBuilder& builder) {
  if (!options.chat_formatter) {
    return absl::FailedPreconditionError(
        "the data has \"messages\", but no chat template is set: give the conversations as "
        "\"prompt\" and \"completion\", or as \"text\"");
  }
  CHOIR_ASSIGN_OR_RETURN(const std::vector<ChatSpan> spans,
                         options.chat_formatter(example.messages));
  for (const ChatSpan& span : spans) {
    const bool in_loss = span.in_loss || options.train_on == TrainOn::kAll;
    CHOIR_RETURN_IF_ERROR(builder.Append(span.text, span.markup, in_loss));
  }
  builder.DropRepeatedBos();
  return absl::OkStatus();
}

}  // namespace

bool HasTarget(const Document& document) {
  return std::any_of(document.in_loss.begin(), document.in_loss.end(),
                     [](uint8_t mark) { return mark != 0; });
}

absl::StatusOr<Document> TokenizeExample(const Example& example, const Tokenizer& tokenizer,
                                         const TokenizeOptions& options) {
  DocumentBuilder builder(tokenizer);
  builder.AppendBos();
  switch (example.form) {
    case Example::Form::kText:
      CHOIR_RETURN_IF_ERROR(builder.Append(example.text, false, true));
      break;
    case Example::Form::kPromptCompletion:
      CHOIR_RETURN_IF_ERROR(
          builder.Append(example.prompt, false, options.train_on == TrainOn::kAll));
      CHOIR_RETURN_IF_ERROR(builder.Append(example.completion, false, true));
      break;
    case Example::Form::kMessages:
      CHOIR_RETURN_IF_ERROR(AppendMessages(example, options, builder));
      return builder.Finish();  // the template ends its turns itself
  }
  if (options.append_eos) builder.AppendEos();
  return builder.Finish();
}

absl::StatusOr<std::vector<Document>> TokenizeExamples(std::span<const Example> examples,
                                                       const Tokenizer& tokenizer,
                                                       const TokenizeOptions& options) {
  std::vector<Document> documents;
  documents.reserve(examples.size());
  for (const Example& example : examples) {
    CHOIR_ASSIGN_OR_RETURN(Document document, TokenizeExample(example, tokenizer, options));
    if (HasTarget(document)) documents.push_back(std::move(document));
  }
  if (documents.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("none of the {} examples has a token to predict", examples.size()));
  }
  return documents;
}

absl::StatusOr<std::vector<int32_t>> TokenizeJoined(std::span<const Example> examples,
                                                    std::string_view separator,
                                                    const Tokenizer& tokenizer) {
  std::string text;
  for (const Example& example : examples) {
    if (&example != &examples.front()) text += separator;
    if (!example.text.empty()) {
      text += example.text;
    } else if (example.form == Example::Form::kPromptCompletion) {
      text += example.prompt;
      text += example.completion;
    } else {
      return absl::FailedPreconditionError("conversations cannot be joined into one text");
    }
  }
  return tokenizer.Encode(text, {.add_special = false});
}

absl::StatusOr<std::vector<Document>> CutWindows(std::span<const int32_t> tokens, int32_t bos,
                                                 int64_t window, bool keep_tail) {
  if (window < 1) {
    return absl::InvalidArgumentError(fmt::format("a window of {} tokens", window));
  }
  const auto size = static_cast<size_t>(window);
  std::vector<Document> documents;
  while (tokens.size() >= size || (keep_tail && !tokens.empty())) {
    const std::span<const int32_t> piece = tokens.first(std::min(size, tokens.size()));
    tokens = tokens.subspan(piece.size());
    Document document;
    document.tokens.push_back(bos);
    document.tokens.insert(document.tokens.end(), piece.begin(), piece.end());
    document.in_loss.assign(document.tokens.size(), 1);
    document.in_loss[0] = 0;
    documents.push_back(std::move(document));
  }
  if (documents.empty()) {
    return absl::InvalidArgumentError(
        fmt::format("{} tokens do not fill one window of {}", tokens.size(), window));
  }
  return documents;
}

}  // namespace choir::engine
