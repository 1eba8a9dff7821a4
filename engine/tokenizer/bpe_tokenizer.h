#ifndef CHOIR_ENGINE_TOKENIZER_BPE_TOKENIZER_H_
#define CHOIR_ENGINE_TOKENIZER_BPE_TOKENIZER_H_

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/special_splitter.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/tokenizer/vocabulary.h"

namespace choir::engine {

// Byte-level BPE (tokenizer.ggml.model = "gpt2"; Sennrich et al. 2016, Radford et al. 2019): the
// text is cut into words by the family's expressions; within a word bytes are joined pair by pair,
// the pair that stands first in the list of merges first, and the leftmost among equals.
class BpeTokenizer final : public Tokenizer {
 public:
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const GgufFile& file);
  BpeTokenizer(const BpeTokenizer&) = delete;
  BpeTokenizer& operator=(const BpeTokenizer&) = delete;

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
  struct Joint;   // what two tokens become
  struct Merge;   // a joint at a place in a word
  struct Symbol;  // a token at a place in a word
  class Merger;

  BpeTokenizer(Vocabulary vocabulary, PreTokenizer pre_tokenizer);
  absl::Status LoadBytes();
  absl::Status LoadMerges(const GgufFile& file);
  [[nodiscard]] absl::StatusOr<int32_t> TokenOfMerge(std::string_view text, size_t line) const;
  [[nodiscard]] const Joint* FindJoint(int32_t left, int32_t right) const;
  // The token of a whole word, if it has one.
  [[nodiscard]] std::optional<int32_t> FindWord(std::string_view word) const;
  absl::Status EncodeText(std::string_view text, std::vector<int32_t>& out) const;

  Vocabulary vocabulary_;
  PreTokenizer pre_tokenizer_;
  SpecialSplitter splitter_;
  std::array<int32_t, 256> byte_ids_{};
  absl::flat_hash_map<uint64_t, Joint> joints_;  // by the ids of the two
};

struct BpeTokenizer::Joint {
  int32_t rank = 0;  // place in the list of merges; the first wins
  int32_t token = 0;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TOKENIZER_BPE_TOKENIZER_H_
