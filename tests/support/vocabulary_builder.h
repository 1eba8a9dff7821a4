#ifndef CHOIR_TESTS_SUPPORT_VOCABULARY_BUILDER_H_
#define CHOIR_TESTS_SUPPORT_VOCABULARY_BUILDER_H_

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace choir {

// A small SentencePiece vocabulary, as a GGUF file in memory, for tests that need a tokenizer
// without the shared test data. Fields may be changed before Build, also into nonsense.
struct VocabularyBuilder {
  // <unk>, <s>, </s>, one token for each byte, and the space.
  VocabularyBuilder();
  // The same for byte-level BPE (model "gpt2"): the bytes' characters, then <|end|> as BOS and EOS,
  // which only the special ids name; `merges` says what is joined.
  static VocabularyBuilder ByteLevel(const std::string& pre);
  // Adds a token; its id.
  int32_t Add(const std::string& text, float score, int32_t type);

  std::string model = "llama";
  std::string pre{};                  // empty: not in the file
  std::vector<std::string> merges{};  // "left right"; in the file if the model is "gpt2"
  std::string chat_template{};        // empty: not in the file
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;
  // False leaves the ids and the add_bos and add_eos flags out of the file.
  bool say_special = true;
  std::optional<bool> add_bos = true;  // nothing: the file does not say
  bool add_eos = false;
  bool add_space_prefix = true;
  uint32_t bos = 1;
  uint32_t eos = 2;
  uint32_t unknown = 0;

  [[nodiscard]] std::string Build() const;
};

}  // namespace choir

#endif  // CHOIR_TESTS_SUPPORT_VOCABULARY_BUILDER_H_
