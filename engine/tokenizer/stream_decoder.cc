#include "engine/tokenizer/stream_decoder.h"

#include <utility>

#include "base/status_macros.h"
#include "engine/tokenizer/utf8.h"

namespace choir::engine {

size_t CompleteUtf8Prefix(std::string_view text) {
  // An incomplete sequence is at most three bytes; look for its lead byte among the last three.
  for (size_t back = 1; back <= 3 && back <= text.size(); ++back) {
    const char byte = text[text.size() - back];
    if (IsUtf8Continuation(byte)) continue;
    const size_t length = Utf8LengthByLead(byte);
    return length > back ? text.size() - back : text.size();
  }
  return text.size();
}

absl::StatusOr<std::string> StreamDecoder::DecodePiece(int32_t id) {
  CHOIR_ASSIGN_OR_RETURN(const std::string piece, tokenizer_.Piece(id));
  pending_ += piece;
  const size_t complete = CompleteUtf8Prefix(pending_);
  std::string out = pending_.substr(0, complete);
  pending_.erase(0, complete);
  return out;
}

std::string StreamDecoder::Flush() {
  return std::exchange(pending_, std::string());
}

}  // namespace choir::engine
