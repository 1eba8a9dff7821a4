#ifndef CHOIR_ENGINE_TOKENIZER_TOKENIZER_H_
#define CHOIR_ENGINE_TOKENIZER_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/gguf/gguf_file.h"

namespace choir::engine {

// The tokens with a role, and which of them the model wants around a text.
struct SpecialTokens {
  std::optional<int32_t> bos;
  std::optional<int32_t> eos;
  std::optional<int32_t> eot;  // end of a turn, in chat models
  std::optional<int32_t> unknown;
  std::optional<int32_t> padding;
  bool add_bos = false;
  bool add_eos = false;
};

struct EncodeOptions {
  // Put BOS before and EOS after, where the model's file asks for them.
  bool add_special = true;
  // Recognise control tokens written out in the text ("<s>", "<|im_start|>"). Never for text that
  // somebody else wrote: it could close a turn.
  bool parse_special = false;
  // The text goes on where another ended: no space is put before it.
  bool continuation = false;
};

// Text to token ids of one model's vocabulary, and back. Immutable, so thread-safe.
class Tokenizer {
 public:
  // Longer texts are refused with INVALID_ARGUMENT.
  static constexpr size_t kMaxTextBytes = size_t{64} << 20;

  virtual ~Tokenizer() = default;

  // Any bytes are accepted; what is not UTF-8 becomes byte tokens.
  [[nodiscard]] virtual absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, const EncodeOptions& options = {}) const = 0;

  // The bytes that one token stands for: nothing for a control token, one byte for a byte token.
  // May be a part of a UTF-8 character. INVALID_ARGUMENT for an id outside the vocabulary.
  [[nodiscard]] virtual absl::StatusOr<std::string> Piece(int32_t id) const = 0;

  // The text of `ids`, without the space that Encode puts before a text.
  [[nodiscard]] virtual absl::StatusOr<std::string> Decode(std::span<const int32_t> ids) const = 0;

  [[nodiscard]] virtual const SpecialTokens& special() const = 0;
  [[nodiscard]] virtual int32_t vocabulary_size() const = 0;
  // The id of a token by its exact text in the vocabulary ("<|im_end|>").
  [[nodiscard]] virtual std::optional<int32_t> FindToken(std::string_view text) const = 0;
  // INVALID_ARGUMENT for a text above kMaxTextBytes.
  static absl::Status CheckTextSize(std::string_view text);
  // True for the tokens that end a generation: EOS, and EOT where there is one.
  [[nodiscard]] bool IsEndOfGeneration(int32_t id) const;
};

// The tokenizer that a model's file describes (tokenizer.ggml.*); copies what it needs.
// UNIMPLEMENTED for a model this build does not know; INVALID_ARGUMENT or NOT_FOUND, with the key,
// for a vocabulary that is incomplete or contradicts itself.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const GgufFile& file);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TOKENIZER_TOKENIZER_H_
