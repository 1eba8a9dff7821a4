#ifndef CHOIR_ENGINE_TOKENIZER_VOCABULARY_H_
#define CHOIR_ENGINE_TOKENIZER_VOCABULARY_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/gguf/gguf_file.h"
#include "engine/tokenizer/tokenizer.h"

namespace choir::engine {

// tokenizer.ggml.token_type.
enum class TokenType : uint8_t {
  kNormal = 1,
  kUnknown = 2,
  kControl = 3,
  kUserDefined = 4,
  kUnused = 5,
  kByte = 6,
};

// True for the tokens that merging may make: never control, unknown or byte tokens, which text must
// not be able to spell.
bool IsMergeable(TokenType type);

// The tokens of a model as its file lists them, whatever the algorithm that uses them. Immutable.
// Not copyable: the index points into the texts.
class Vocabulary {
 public:
  static constexpr size_t kMaxTokens = size_t{1} << 22;
  static constexpr size_t kMaxTokenBytes = size_t{1} << 16;

  // `defaults`: the ids of BOS, EOS and unknown in a file that does not say, where those tokens
  // have the type for it, and whether it then wants BOS; what the file says wins. The end of a turn
  // is found by the families' names for it. NOT_FOUND: a key is missing. INVALID_ARGUMENT:
  // arrays of different lengths or wrong types, a token too long, a type that does not exist, a
  // byte token that names no byte, a special id outside the vocabulary.
  static absl::StatusOr<Vocabulary> Load(const GgufFile& file, const SpecialTokens& defaults);

  Vocabulary(Vocabulary&&) = default;
  Vocabulary& operator=(Vocabulary&&) = default;

  [[nodiscard]] int32_t size() const { return static_cast<int32_t>(texts_.size()); }
  [[nodiscard]] bool Contains(int32_t id) const { return id >= 0 && id < size(); }
  // INVALID_ARGUMENT for an id outside the vocabulary.
  [[nodiscard]] absl::Status CheckId(int32_t id) const;
  // `id` must be in the vocabulary.
  [[nodiscard]] const std::string& text(int32_t id) const {
    return texts_[static_cast<size_t>(id)];
  }
  [[nodiscard]] TokenType type(int32_t id) const { return types_[static_cast<size_t>(id)]; }
  // The first token with this text.
  [[nodiscard]] std::optional<int32_t> Find(std::string_view text) const;
  // The byte token of each byte, where there is one.
  [[nodiscard]] const std::array<std::optional<int32_t>, 256>& byte_tokens() const {
    return byte_tokens_;
  }
  // The byte that a byte token stands for.
  [[nodiscard]] char ByteOf(int32_t id) const;
  [[nodiscard]] const SpecialTokens& special() const { return special_; }
  [[nodiscard]] size_t longest_token_bytes() const { return longest_token_bytes_; }

 private:
  Vocabulary() = default;
  absl::Status LoadTexts(const GgufFile& file);
  absl::Status LoadTypes(const GgufFile& file);
  // `id` if it is a token of this type.
  [[nodiscard]] std::optional<int32_t> OfType(std::optional<int32_t> id, TokenType type) const;
  [[nodiscard]] std::optional<int32_t> FindEndOfTurn() const;
  absl::Status LoadSpecial(const GgufFile& file, const SpecialTokens& defaults);

  std::vector<std::string> texts_;
  std::vector<TokenType> types_;
  std::unordered_map<std::string_view, int32_t> index_;
  std::array<std::optional<int32_t>, 256> byte_tokens_;
  SpecialTokens special_;
  size_t longest_token_bytes_ = 0;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TOKENIZER_VOCABULARY_H_
