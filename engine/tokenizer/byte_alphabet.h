#ifndef CHOIR_ENGINE_TOKENIZER_BYTE_ALPHABET_H_
#define CHOIR_ENGINE_TOKENIZER_BYTE_ALPHABET_H_

#include <cstdint>
#include <string>
#include <string_view>

namespace choir::engine {

// The alphabet in which byte-level vocabularies are written: one printable character for each byte
// (Radford et al. 2019, GPT-2's bytes_to_unicode). A space is U+0120, a line feed U+010A.

// The character of a byte, in UTF-8.
std::string_view ByteCharacter(uint8_t byte);

// Bytes to characters: "a b" becomes "a\u0120b".
std::string ToByteCharacters(std::string_view bytes);

// Characters back to bytes; what is not in the alphabet stays as it is.
std::string FromByteCharacters(std::string_view text);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TOKENIZER_BYTE_ALPHABET_H_
