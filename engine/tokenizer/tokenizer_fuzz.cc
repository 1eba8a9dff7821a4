#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/check.h"
#include "base/file.h"
#include "engine/tokenizer/pre_tokenizer.h"
#include "engine/tokenizer/stream_decoder.h"
#include "engine/tokenizer/tokenizer.h"

namespace choir::engine {
namespace {

// The file's own end serves as text: any bytes are text.
void UseTokenizer(const Tokenizer& tokenizer, std::string_view text) {
  for (const bool parse_special : {false, true}) {
    const auto ids = tokenizer.Encode(text, {.parse_special = parse_special});
    CHOIR_CHECK(ids.ok());
    CHOIR_CHECK(std::all_of(ids->begin(), ids->end(), [&](int32_t id) {
      return id >= 0 && id < tokenizer.vocabulary_size();
    }));
    CHOIR_CHECK(tokenizer.Decode(*ids).ok());
    StreamDecoder stream(tokenizer);
    for (const int32_t id : *ids) CHOIR_CHECK(stream.DecodePiece(id).ok());
    CHOIR_CHECK(stream.Flush().size() < 4);
  }
}

// Whatever the bytes are, the words are the text again.
void CutIntoWords(std::string_view text) {
  for (const std::string_view family : {"default", "gpt-2", "llama-bpe", "qwen2"}) {
    const absl::StatusOr<PreTokenizer> pre = PreTokenizer::Create(family);
    CHOIR_CHECK(pre.ok());
    std::vector<std::string_view> words;
    CHOIR_CHECK(pre->Split(text, words).ok());
    std::string joined;
    for (const std::string_view word : words) {
      CHOIR_CHECK(!word.empty());
      joined += word;
    }
    CHOIR_CHECK(joined == text);
  }
}

}  // namespace
}  // namespace choir::engine

// Any vocabulary is refused, or encodes any text into its own ids and decodes those.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using choir::engine::GgufFile;
  const std::string_view text = choir::AsChars({data, size});
  choir::engine::CutIntoWords(text.substr(0, 512));
  const absl::StatusOr<GgufFile> file = GgufFile::Parse({data, size});
  if (!file.ok()) return 0;
  const auto tokenizer = choir::engine::LoadTokenizer(*file);
  if (!tokenizer.ok()) return 0;
  choir::engine::UseTokenizer(**tokenizer, text.substr(size - std::min<size_t>(size, 512)));
  return 0;
}
