#ifndef CHOIR_ENGINE_TOKENIZER_UTF8_H_
#define CHOIR_ENGINE_TOKENIZER_UTF8_H_

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace choir::engine {

inline bool IsUtf8Continuation(char c) {
  return (static_cast<uint8_t>(c) & 0xc0u) == 0x80u;
}

// How many bytes the UTF-8 sequence that begins with this byte has (RFC 3629): 1 for ASCII, and for
// bytes that begin no sequence. Says nothing about the bytes that follow.
inline size_t Utf8LengthByLead(char c) {
  const auto lead = static_cast<uint8_t>(c);
  if (lead < 0xc2u || lead > 0xf4u) return 1;
  if (lead < 0xe0u) return 2;
  return lead < 0xf0u ? 3 : 4;
}

// The character at the start of `text`, which is not empty; a single byte if that is no UTF-8.
inline std::string_view FirstCharacter(std::string_view text) {
  const size_t length = Utf8LengthByLead(text[0]);
  if (length > text.size()) return text.substr(0, 1);
  for (size_t i = 1; i < length; ++i) {
    if (!IsUtf8Continuation(text[i])) return text.substr(0, 1);
  }
  return text.substr(0, length);
}

// True if `text`, which is not empty, begins with a whole, valid character (RFC 3629): no overlong
// form, no surrogate, nothing above U+10FFFF.
inline bool StartsWithUtf8(std::string_view text) {
  const size_t length = FirstCharacter(text).size();
  const auto lead = static_cast<uint8_t>(text[0]);
  if (length == 1) return lead < 0x80u;
  const auto second = static_cast<uint8_t>(text[1]);
  if (lead == 0xe0u) return second >= 0xa0u;
  if (lead == 0xedu) return second < 0xa0u;
  if (lead == 0xf0u) return second >= 0x90u;
  return lead != 0xf4u || second < 0x90u;
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TOKENIZER_UTF8_H_
