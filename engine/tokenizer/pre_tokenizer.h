#ifndef CHOIR_ENGINE_TOKENIZER_PRE_TOKENIZER_H_
#define CHOIR_ENGINE_TOKENIZER_PRE_TOKENIZER_H_

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace choir::engine {

// Cuts a text into words, within which byte-level BPE merges, by the regular expressions of a
// model's family (tokenizer.ggml.pre). Unicode's properties come from PCRE2's tables. Immutable, so
// thread-safe.
class PreTokenizer {
 public:
  // UNIMPLEMENTED for a name that this build does not know: a tokenizer that cuts elsewhere gives
  // other ids, and a model that quietly answers worse.
  static absl::StatusOr<PreTokenizer> Create(std::string_view name);
  PreTokenizer(PreTokenizer&&) noexcept;
  PreTokenizer& operator=(PreTokenizer&&) noexcept;
  ~PreTokenizer();

  // Appends the words, which joined are the text; they point into it. Bytes that are no UTF-8 stand
  // apart, so that no expression ever sees them. Time is linear in the text. RESOURCE_EXHAUSTED if
  // a limit of the regular expressions is hit.
  absl::Status Split(std::string_view text, std::vector<std::string_view>& words) const;

  // A word that is a token is taken whole, whatever the merges would make of it.
  [[nodiscard]] bool whole_words() const { return whole_words_; }
  // BOS stands before a text when the model's file does not say.
  [[nodiscard]] bool add_bos() const { return add_bos_; }

 private:
  class Regex;

  PreTokenizer();
  absl::Status SplitUtf8(std::string_view text, std::vector<std::string_view>& words) const;

  std::vector<std::unique_ptr<const Regex>> stages_;  // each cuts what the one before left
  bool whole_words_ = false;
  bool add_bos_ = false;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TOKENIZER_PRE_TOKENIZER_H_
