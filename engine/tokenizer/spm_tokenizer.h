#ifndef CHOIR_ENGINE_TOKENIZER_SPM_TOKENIZER_H_
#define CHOIR_ENGINE_TOKENIZER_SPM_TOKENIZER_H_

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/tokenizer/special_splitter.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/vocabulary.h"

namespace choir::engine {

// SentencePiece's BPE (tokenizer.ggml.model = "llama"; Kudo & Richardson 2018): spaces become
// U+2581, characters are joined pair by pair, the pair with the best score first and the leftmost
// among equals; a character without a token becomes its bytes' tokens.
class SpmTokenizer final : public Tokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const GgufFile& file);
  SpmTokenizer(const SpmTokenizer&) = delete;
  SpmTokenizer& operator=(const SpmTokenizer&) = delete;

  [[nodiscard]] absl::StatusOr<std::vector<int32_t>> Encode(
      std::string_view text, const EncodeOptions& options) const override;
  [[nodiscard]] absl::StatusOr<std::string> Piece(int32_t id) const override;
  [[nodiscard]] absl::StatusOr<std::string> Decode(std::span<const int32_t> ids) const override;
  [[nodiscard]] const SpecialTokens& special() const override { return vocabulary_.special(); }
  [[nodiscard]] int32_t vocabulary_size() const override { return vocabulary_.size(); }
  [[nodiscard]] std::optional<int32_t> FindToken(std::string_view text) const override {
    return vocabulary_.Find(text);
  }

 private:
  struct Merge;
  struct Symbol;
  class Merger;

  SpmTokenizer(Vocabulary vocabulary, std::vector<float> scores, bool add_space_prefix);
  // The token that a run of characters can become by merging, or null.
  [[nodiscard]] std::optional<int32_t> FindMergeable(std::string_view text) const;
  // `id` must be in the vocabulary.
  [[nodiscard]] std::string PieceOf(int32_t id) const;
  void EncodeText(std::string_view text, std::vector<int32_t>& out) const;
  // The bytes of a character that has no token of its own.
  void AppendBytes(std::string_view character, std::vector<int32_t>& out) const;

  Vocabulary vocabulary_;
  std::vector<float> scores_;
  bool add_space_prefix_;
  SpecialSplitter splitter_;
  // Characters that stand side by side in some token. Between any others no merge can ever happen,
  // so that a text falls into short pieces (mostly words) that are merged one by one.
  std::unordered_set<uint64_t> neighbours_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TOKENIZER_SPM_TOKENIZER_H_
