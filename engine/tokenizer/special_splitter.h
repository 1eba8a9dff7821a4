#ifndef CHOIR_ENGINE_TOKENIZER_SPECIAL_SPLITTER_H_
#define CHOIR_ENGINE_TOKENIZER_SPECIAL_SPLITTER_H_

#include <bitset>
#include <cstdint>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/tokenizer/vocabulary.h"

namespace choir::engine {

// A stretch of a text: either one token that was recognised as a whole, or text still to be
// encoded.
struct TextFragment {
  std::string_view text;
  std::optional<int32_t> token;
};

// Finds the tokens that are recognised as a whole, before any merging: user-defined ones always,
// control and unknown ones when asked for. Longer tokens win over shorter ones, wherever they
// stand.
class SpecialSplitter {
 public:
  // The vocabulary must outlive it.
  explicit SpecialSplitter(const Vocabulary& vocabulary);

  // In order, without empty text; `text` must outlive the result.
  [[nodiscard]] std::vector<TextFragment> Split(std::string_view text, bool parse_special) const;

 private:
  struct SameLength {
    size_t length = 0;
    std::bitset<256> first_bytes;
    std::unordered_map<std::string_view, int32_t> tokens;
  };

  [[nodiscard]] bool Match(const SameLength& group, std::string_view at, bool parse_special,
                           int32_t& token) const;
  void SplitText(const SameLength& group, std::string_view text, bool parse_special,
                 std::vector<TextFragment>& out) const;

  const Vocabulary& vocabulary_;
  std::vector<SameLength> groups_;  // longest first
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TOKENIZER_SPECIAL_SPLITTER_H_
