#ifndef CHOIR_ENGINE_TOKENIZER_STREAM_DECODER_H_
#define CHOIR_ENGINE_TOKENIZER_STREAM_DECODER_H_

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "engine/tokenizer/tokenizer.h"

namespace choir::engine {

// The number of bytes at the start of `text` that end on a character boundary: everything but a
// UTF-8 sequence that has begun and is not complete. Bytes that can never become UTF-8 count as
// done.
size_t CompleteUtf8Prefix(std::string_view text);

// Turns tokens into text as they are generated, for a terminal: holds back the bytes of a character
// until it is whole. The tokenizer must outlive it. Not thread-safe.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer) : tokenizer_(tokenizer) {}

  // The text that became complete with this token; may be empty. INVALID_ARGUMENT for a bad id.
  absl::StatusOr<std::string> DecodePiece(int32_t id);
  // What is held back, at the end; empties it.
  std::string Flush();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TOKENIZER_STREAM_DECODER_H_
