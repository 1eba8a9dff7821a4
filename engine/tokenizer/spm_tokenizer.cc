#include "engine/tokenizer/spm_tokenizer.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <queue>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/tokenizer/utf8.h"

namespace choir::engine {
namespace {

constexpr std::string_view kSpace = "\u2581";
// What an unknown token looks like in text, as SentencePiece prints it.
constexpr std::string_view kUnknownPiece = " \u2047 ";

// Two characters of at most four bytes each, as one number.
uint64_t PairKey(std::string_view left, std::string_view right) {
  uint32_t a = 0;
  uint32_t b = 0;
  std::memcpy(&a, left.data(), left.size());
  std::memcpy(&b, right.data(), right.size());
  return (uint64_t{a} << 32) | b;
}

std::string ReplaceAll(std::string_view text, std::string_view from, std::string_view to) {
  std::string out;
  out.reserve(text.size());
  for (;;) {
    const size_t at = text.find(from);
    out += text.substr(0, at);
    if (at == std::string_view::npos) return out;
    out += to;
    text.remove_prefix(at + from.size());
  }
}

}  // namespace

// One run of characters that are being joined: a list within an array, by index, -1 at the ends.
struct SpmTokenizer::Symbol {
  std::string_view text;  // empty once it was joined to its left neighbour
  int32_t previous = -1;
  int32_t next = -1;
};

// A possible joint of the symbols `left` and `right` into a text of `size` bytes.
struct SpmTokenizer::Merge {
  float score = 0;
  int32_t left = 0;
  int32_t right = 0;
  size_t size = 0;
  // For a max-heap: the best score, then the leftmost.
  friend bool operator<(const Merge& x, const Merge& y) {
    return x.score < y.score || (x.score == y.score && x.left > y.left);
  }
};

// Joins the characters of one piece of text. O(n log n) in its characters.
class SpmTokenizer::Merger {
 public:
  explicit Merger(const SpmTokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void Encode(std::string_view text, std::vector<int32_t>& out) {
    symbols_.clear();
    for (std::string_view rest = text; !rest.empty();) {
      const std::string_view character = FirstCharacter(rest);
      rest.remove_prefix(character.size());
      const auto index = static_cast<int32_t>(symbols_.size());
      symbols_.push_back({character, index - 1, rest.empty() ? -1 : index + 1});
    }
    for (size_t i = 0; i + 1 < symbols_.size(); ++i) Push(static_cast<int32_t>(i));
    while (!queue_.empty()) {
      const Merge merge = queue_.top();
      queue_.pop();
      Apply(merge);
    }
    for (int32_t i = 0; i >= 0; i = At(i).next) Emit(At(i).text, out);
  }

 private:
  Symbol& At(int32_t index) { return symbols_[static_cast<size_t>(index)]; }

  // Queues the joint of the symbol and its right neighbour, if that makes a token.
  void Push(int32_t left) {
    if (left < 0 || At(left).next < 0) return;
    const int32_t right = At(left).next;
    const size_t size = At(left).text.size() + At(right).text.size();
    // Neighbours in the list are neighbours in memory.
    const std::string_view joined(At(left).text.data(), size);
    const std::optional<int32_t> token = tokenizer_.FindMergeable(joined);
    if (!token.has_value()) return;
    queue_.push({tokenizer_.scores_[static_cast<size_t>(*token)], left, right, size});
  }

  void Apply(const Merge& merge) {
    Symbol& left = At(merge.left);
    Symbol& right = At(merge.right);
    // Out of date: one of the two was joined elsewhere meanwhile.
    if (left.text.empty() || right.text.empty()) return;
    if (left.text.size() + right.text.size() != merge.size) return;
    left.text = std::string_view(left.text.data(), merge.size);
    right.text = {};
    left.next = right.next;
    if (right.next >= 0) At(right.next).previous = merge.left;
    Push(left.previous);
    Push(merge.left);
  }

  void Emit(std::string_view text, std::vector<int32_t>& out) const {
    const std::optional<int32_t> token = tokenizer_.FindMergeable(text);
    if (token.has_value()) {
      out.push_back(*token);
    } else {
      tokenizer_.AppendBytes(text, out);
    }
  }

  const SpmTokenizer& tokenizer_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Merge> queue_;
};

absl::StatusOr<std::unique_ptr<Tokenizer>> SpmTokenizer::Load(const GgufFile& file) {
  constexpr std::string_view kScoresKey = "tokenizer.ggml.scores";
  // SentencePiece's own numbers, which old files leave unsaid.
  const SpecialTokens defaults = {
      .bos = 1, .eos = 2, .eot = {}, .unknown = 0, .padding = {}, .add_bos = true};
  CHOIR_ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::Load(file, defaults));
  CHOIR_ASSIGN_OR_RETURN(std::vector<float> scores, file.GetF32Array(kScoresKey));
  if (scores.size() != static_cast<size_t>(vocabulary.size())) {
    return absl::InvalidArgumentError(fmt::format("{} has {} elements for {} tokens", kScoresKey,
                                                  scores.size(), vocabulary.size()));
  }
  if (!std::all_of(scores.begin(), scores.end(), [](float s) { return std::isfinite(s); })) {
    return absl::InvalidArgumentError(fmt::format("{} holds a NaN or an infinity", kScoresKey));
  }
  const auto& bytes = vocabulary.byte_tokens();
  if (!vocabulary.special().unknown.has_value() &&
      !std::all_of(bytes.begin(), bytes.end(), [](const auto& id) { return id.has_value(); })) {
    return absl::InvalidArgumentError(
        "the vocabulary has neither a token for every byte nor an unknown token");
  }
  CHOIR_ASSIGN_OR_RETURN(const bool add_space_prefix,
                         file.GetBool("tokenizer.ggml.add_space_prefix", true));
  return std::unique_ptr<Tokenizer>(
      new SpmTokenizer(std::move(vocabulary), std::move(scores), add_space_prefix));
}

SpmTokenizer::SpmTokenizer(Vocabulary vocabulary, std::vector<float> scores, bool add_space_prefix)
    : vocabulary_(std::move(vocabulary)),
      scores_(std::move(scores)),
      add_space_prefix_(add_space_prefix),
      splitter_(vocabulary_) {
  for (int32_t id = 0; id < vocabulary_.size(); ++id) {
    if (!IsMergeable(vocabulary_.type(id))) continue;
    std::string_view rest = vocabulary_.text(id);
    std::string_view last;
    while (!rest.empty()) {
      const std::string_view character = FirstCharacter(rest);
      if (!last.empty()) neighbours_.insert(PairKey(last, character));
      last = character;
      rest.remove_prefix(character.size());
    }
  }
}

std::optional<int32_t> SpmTokenizer::FindMergeable(std::string_view text) const {
  if (text.size() > vocabulary_.longest_token_bytes()) return std::nullopt;
  const std::optional<int32_t> id = vocabulary_.Find(text);
  return id.has_value() && IsMergeable(vocabulary_.type(*id)) ? id : std::nullopt;
}

absl::StatusOr<std::vector<int32_t>> SpmTokenizer::Encode(std::string_view text,
                                                          const EncodeOptions& options) const {
  CHOIR_RETURN_IF_ERROR(CheckTextSize(text));
  std::vector<int32_t> out;
  if (options.add_special && special().add_bos && !options.continuation) {
    out.push_back(*special().bos);
  }
  bool needs_space = add_space_prefix_ && !options.continuation;
  for (const TextFragment& fragment : splitter_.Split(text, options.parse_special)) {
    if (fragment.token.has_value()) {
      out.push_back(*fragment.token);
      needs_space = add_space_prefix_;
      continue;
    }
    EncodeText((needs_space ? std::string(kSpace) : std::string()) +
                   ReplaceAll(fragment.text, " ", kSpace),
               out);
    needs_space = false;
  }
  if (options.add_special && special().add_eos) out.push_back(*special().eos);
  return out;
}

void SpmTokenizer::EncodeText(std::string_view text, std::vector<int32_t>& out) const {
  Merger merger(*this);
  while (!text.empty()) {
    std::string_view last = FirstCharacter(text);
    size_t size = last.size();
    while (size < text.size()) {
      const std::string_view next = FirstCharacter(text.substr(size));
      if (!neighbours_.contains(PairKey(last, next))) break;
      size += next.size();
      last = next;
    }
    merger.Encode(text.substr(0, size), out);
    text.remove_prefix(size);
  }
}

void SpmTokenizer::AppendBytes(std::string_view character, std::vector<int32_t>& out) const {
  for (const char c : character) {
    const std::optional<int32_t> token = vocabulary_.byte_tokens()[static_cast<uint8_t>(c)];
    if (!token.has_value()) {
      out.push_back(*special().unknown);  // Load saw to it that there is one
      return;
    }
    out.push_back(*token);
  }
}

std::string SpmTokenizer::PieceOf(int32_t id) const {
  switch (vocabulary_.type(id)) {
    case TokenType::kControl:
      return std::string();
    case TokenType::kUnknown:
      return std::string(kUnknownPiece);
    case TokenType::kByte:
      return std::string(1, vocabulary_.ByteOf(id));
    case TokenType::kUserDefined:
      return vocabulary_.text(id);
    default:
      return ReplaceAll(vocabulary_.text(id), kSpace, " ");
  }
}

absl::StatusOr<std::string> SpmTokenizer::Piece(int32_t id) const {
  CHOIR_RETURN_IF_ERROR(vocabulary_.CheckId(id));
  return PieceOf(id);
}

absl::StatusOr<std::string> SpmTokenizer::Decode(std::span<const int32_t> ids) const {
  std::string out;
  bool strip_space = add_space_prefix_;
  for (const int32_t id : ids) {
    CHOIR_RETURN_IF_ERROR(vocabulary_.CheckId(id));
    const std::string piece = PieceOf(id);
    out += std::string_view(piece).substr(strip_space && piece.starts_with(' ') ? 1 : 0);
    if (!piece.empty()) strip_space = false;
  }
  return out;
}

}  // namespace choir::engine
