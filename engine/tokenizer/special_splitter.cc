#include "engine/tokenizer/special_splitter.h"

#include <functional>
#include <map>
#include <utility>

namespace choir::engine {

SpecialSplitter::SpecialSplitter(const Vocabulary& vocabulary) : vocabulary_(vocabulary) {
  std::map<size_t, SameLength, std::greater<>> by_length;
  for (int32_t id = 0; id < vocabulary.size(); ++id) {
    const TokenType type = vocabulary.type(id);
    const bool whole = type == TokenType::kUserDefined || type == TokenType::kControl ||
                       type == TokenType::kUnknown;
    const std::string& text = vocabulary.text(id);
    if (!whole || text.empty()) continue;
    SameLength& group = by_length[text.size()];
    group.length = text.size();
    group.first_bytes.set(static_cast<uint8_t>(text[0]));
    group.tokens.emplace(text, id);
  }
  for (auto& [length, group] : by_length) groups_.push_back(std::move(group));
}

bool SpecialSplitter::Match(const SameLength& group, std::string_view at, bool parse_special,
                            int32_t& token) const {
  if (!group.first_bytes[static_cast<uint8_t>(at[0])]) return false;
  const auto found = group.tokens.find(at.substr(0, group.length));
  if (found == group.tokens.end()) return false;
  token = found->second;
  return parse_special || vocabulary_.type(token) == TokenType::kUserDefined;
}

void SpecialSplitter::SplitText(const SameLength& group, std::string_view text, bool parse_special,
                                std::vector<TextFragment>& out) const {
  size_t begin = 0;
  int32_t token = 0;
  for (size_t i = 0; text.size() - begin >= group.length && i + group.length <= text.size();) {
    if (!Match(group, text.substr(i), parse_special, token)) {
      ++i;
      continue;
    }
    if (i > begin) out.push_back({text.substr(begin, i - begin), std::nullopt});
    out.push_back({text.substr(i, group.length), token});
    i += group.length;
    begin = i;
  }
  if (begin < text.size()) out.push_back({text.substr(begin), std::nullopt});
}

std::vector<TextFragment> SpecialSplitter::Split(std::string_view text, bool parse_special) const {
  std::vector<TextFragment> fragments;
  if (!text.empty()) fragments.push_back({text, std::nullopt});
  for (const SameLength& group : groups_) {
    std::vector<TextFragment> next;
    for (const TextFragment& fragment : fragments) {
      if (fragment.token.has_value()) {
        next.push_back(fragment);
      } else {
        SplitText(group, fragment.text, parse_special, next);
      }
    }
    fragments = std::move(next);
  }
  return fragments;
}

}  // namespace choir::engine
