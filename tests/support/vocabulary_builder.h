#ifndef CHOIR_TESTS_SUPPORT_VOCABULARY_BUILDER_H_
#define CHOIR_TESTS_SUPPORT_VOCABULARY_BUILDER_H_

#include <cstdint>
#include <string>
#include <vector>

namespace choir {

// A small SentencePiece vocabulary, as a GGUF file in memory, for tests that need a tokenizer
// without the shared test data. Fields may be changed before Build, also into nonsense.
struct VocabularyBuilder {
  // <unk>, <s>, </s>, one token for each byte, and the space.
  VocabularyBuilder();
  // Adds a token; its id.
  int32_t Add(const std::string& text, float score, int32_t type);

  std::string model = "llama";
  std::vector<std::string> tokens;
  std::vector<float> scores;
  std::vector<int32_t> types;
  // False leaves the ids and the add_bos and add_eos flags out of the file.
  bool say_special = true;
  bool add_bos = true;
  bool add_eos = false;
  bool add_space_prefix = true;
  uint32_t bos = 1;
  uint32_t eos = 2;
  uint32_t unknown = 0;

  [[nodiscard]] std::string Build() const;
};

}  // namespace choir

#endif  // CHOIR_TESTS_SUPPORT_VOCABULARY_BUILDER_H_
