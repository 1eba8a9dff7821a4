#include "engine/tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <queue>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/tokenizer/byte_alphabet.h"

namespace choir::engine {
namespace {

constexpr std::string_view kMergesKey = "tokenizer.ggml.merges";
constexpr std::string_view kPreKey = "tokenizer.ggml.pre";
constexpr size_t kMaxMerges = size_t{1} << 23;

uint64_t PairKey(int32_t left, int32_t right) {
  return (uint64_t{static_cast<uint32_t>(left)} << 32) | static_cast<uint32_t>(right);
}

}  // namespace

struct BpeTokenizer::Symbol {
  int32_t token = -1;  // -1 once it was joined to its left neighbour
  int32_t previous = -1;
  int32_t next = -1;
};

struct BpeTokenizer::Merge {
  const Joint* joint = nullptr;
  int32_t left = 0;
  int32_t left_token = 0;
  int32_t right_token = 0;
  // For a max-heap: the lowest rank, then the leftmost.
  friend bool operator<(const Merge& x, const Merge& y) {
    if (x.joint->rank != y.joint->rank) return x.joint->rank > y.joint->rank;
    return x.left > y.left;
  }
};

// Joins the bytes of one word. O(n log n) in its bytes.
class BpeTokenizer::Merger {
 public:
  explicit Merger(const BpeTokenizer& tokenizer) : tokenizer_(tokenizer) {}

  void Encode(std::string_view word, std::vector<int32_t>& out) {
    symbols_.clear();
    const auto size = static_cast<int32_t>(word.size());
    for (int32_t i = 0; i < size; ++i) {
      const auto byte = static_cast<uint8_t>(word[static_cast<size_t>(i)]);
      symbols_.push_back({tokenizer_.byte_ids_[byte], i - 1, i + 1 < size ? i + 1 : -1});
    }
    for (int32_t i = 0; i < size; ++i) Push(i);
    while (!queue_.empty()) {
      const Merge merge = queue_.top();
      queue_.pop();
      Apply(merge);
    }
    for (int32_t i = 0; i >= 0; i = At(i).next) out.push_back(At(i).token);
  }

 private:
  Symbol& At(int32_t index) { return symbols_[static_cast<size_t>(index)]; }

  // Queues the joint of the symbol and its right neighbour, if there is one.
  void Push(int32_t left) {
    if (left < 0 || At(left).next < 0) return;
    const int32_t left_token = At(left).token;
    const int32_t right_token = At(At(left).next).token;
    const Joint* joint = tokenizer_.FindJoint(left_token, right_token);
    if (joint != nullptr) queue_.push({joint, left, left_token, right_token});
  }

  void Apply(const Merge& merge) {
    Symbol& left = At(merge.left);
    // Out of date: one of the two was joined elsewhere meanwhile.
    if (left.token != merge.left_token || left.next < 0) return;
    Symbol& right = At(left.next);
    if (right.token != merge.right_token) return;
    left.token = merge.joint->token;
    right.token = -1;
    left.next = right.next;
    if (left.next >= 0) At(left.next).previous = merge.left;
    Push(left.previous);
    Push(merge.left);
  }

  const BpeTokenizer& tokenizer_;
  std::vector<Symbol> symbols_;
  std::priority_queue<Merge> queue_;
};

absl::StatusOr<std::unique_ptr<Tokenizer>> BpeTokenizer::Load(const GgufFile& file) {
  std::string_view pre = "default";
  if (file.Has(kPreKey)) {
    CHOIR_ASSIGN_OR_RETURN(pre, file.GetString(kPreKey));
  }
  CHOIR_ASSIGN_OR_RETURN(PreTokenizer pre_tokenizer, PreTokenizer::Create(pre));
  SpecialTokens defaults;
  defaults.add_bos = pre_tokenizer.add_bos();
  CHOIR_ASSIGN_OR_RETURN(Vocabulary vocabulary, Vocabulary::Load(file, defaults));
  std::unique_ptr<BpeTokenizer> tokenizer(
      new BpeTokenizer(std::move(vocabulary), std::move(pre_tokenizer)));
  CHOIR_RETURN_IF_ERROR(tokenizer->LoadBytes());
  CHOIR_RETURN_IF_ERROR(tokenizer->LoadMerges(file));
  return tokenizer;
}

BpeTokenizer::BpeTokenizer(Vocabulary vocabulary, PreTokenizer pre_tokenizer)
    : vocabulary_(std::move(vocabulary)),
      pre_tokenizer_(std::move(pre_tokenizer)),
      splitter_(vocabulary_) {}

absl::Status BpeTokenizer::LoadBytes() {
  for (size_t byte = 0; byte < byte_ids_.size(); ++byte) {
    std::optional<int32_t> id = vocabulary_.Find(ByteCharacter(static_cast<uint8_t>(byte)));
    if (!id.has_value() || !IsMergeable(vocabulary_.type(*id))) id = special().unknown;
    if (!id.has_value()) {
      return absl::InvalidArgumentError(fmt::format(
          "the vocabulary has neither a token for the byte {:#04x} nor an unknown token", byte));
    }
    byte_ids_[byte] = *id;
  }
  return absl::OkStatus();
}

absl::StatusOr<int32_t> BpeTokenizer::TokenOfMerge(std::string_view text, size_t line) const {
  const std::optional<int32_t> id = vocabulary_.Find(text);
  // Text must not be able to spell a control token.
  if (id.has_value() && IsMergeable(vocabulary_.type(*id))) return *id;
  return absl::InvalidArgumentError(fmt::format(
      "{}: merge {} has a part or a result that is no ordinary token", kMergesKey, line));
}

absl::Status BpeTokenizer::LoadMerges(const GgufFile& file) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<std::string_view> merges,
                         file.GetStringArray(kMergesKey));
  if (merges.size() > kMaxMerges) {
    return absl::InvalidArgumentError(fmt::format("{} has {} entries; at most {} are supported",
                                                  kMergesKey, merges.size(), kMaxMerges));
  }
  joints_.reserve(merges.size());
  std::string joined;
  for (size_t i = 0; i < merges.size(); ++i) {
    // "left right"; a space itself is written as another character.
    const size_t space = merges[i].find(' ', 1);
    if (space == std::string_view::npos) {
      return absl::InvalidArgumentError(
          fmt::format("{}: merge {} is not of the form \"left right\"", kMergesKey, i));
    }
    const std::string_view left = merges[i].substr(0, space);
    const std::string_view right = merges[i].substr(space + 1);
    joined.assign(left).append(right);
    CHOIR_ASSIGN_OR_RETURN(const int32_t left_id, TokenOfMerge(left, i));
    CHOIR_ASSIGN_OR_RETURN(const int32_t right_id, TokenOfMerge(right, i));
    CHOIR_ASSIGN_OR_RETURN(const int32_t token, TokenOfMerge(joined, i));
    joints_.try_emplace(PairKey(left_id, right_id), Joint{static_cast<int32_t>(i), token});
  }
  return absl::OkStatus();
}

const BpeTokenizer::Joint* BpeTokenizer::FindJoint(int32_t left, int32_t right) const {
  const auto found = joints_.find(PairKey(left, right));
  return found == joints_.end() ? nullptr : &found->second;
}

std::optional<int32_t> BpeTokenizer::FindWord(std::string_view word) const {
  // A character of the alphabet has at least one byte.
  if (word.size() > vocabulary_.longest_token_bytes()) return std::nullopt;
  const std::optional<int32_t> id = vocabulary_.Find(ToByteCharacters(word));
  return id.has_value() && IsMergeable(vocabulary_.type(*id)) ? id : std::nullopt;
}

absl::StatusOr<std::vector<int32_t>> BpeTokenizer::Encode(std::string_view text,
                                                          const EncodeOptions& options) const {
  CHOIR_RETURN_IF_ERROR(CheckTextSize(text));
  std::vector<int32_t> out;
  if (options.add_special && special().add_bos && !options.continuation) {
    out.push_back(*special().bos);
  }
  for (const TextFragment& fragment : splitter_.Split(text, options.parse_special)) {
    if (fragment.token.has_value()) {
      out.push_back(*fragment.token);
    } else {
      CHOIR_RETURN_IF_ERROR(EncodeText(fragment.text, out));
    }
  }
  if (options.add_special && special().add_eos) out.push_back(*special().eos);
  return out;
}

absl::Status BpeTokenizer::EncodeText(std::string_view text, std::vector<int32_t>& out) const {
  std::vector<std::string_view> words;
  CHOIR_RETURN_IF_ERROR(pre_tokenizer_.Split(text, words));
  Merger merger(*this);
  for (const std::string_view word : words) {
    const std::optional<int32_t> whole =
        pre_tokenizer_.whole_words() ? FindWord(word) : std::nullopt;
    if (whole.has_value()) {
      out.push_back(*whole);
    } else {
      merger.Encode(word, out);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> BpeTokenizer::Piece(int32_t id) const {
  CHOIR_RETURN_IF_ERROR(vocabulary_.CheckId(id));
  switch (vocabulary_.type(id)) {
    case TokenType::kControl:
      return std::string();
    case TokenType::kUnknown:
      return std::string("\ufffd");
    case TokenType::kByte:
      return std::string(1, vocabulary_.ByteOf(id));
    case TokenType::kUserDefined:
      return vocabulary_.text(id);
    default:
      return FromByteCharacters(vocabulary_.text(id));
  }
}

absl::StatusOr<std::string> BpeTokenizer::Decode(std::span<const int32_t> ids) const {
  std::string out;
  for (const int32_t id : ids) {
    CHOIR_ASSIGN_OR_RETURN(const std::string piece, Piece(id));
    out += piece;
  }
  return out;
}

}  // namespace choir::engine
