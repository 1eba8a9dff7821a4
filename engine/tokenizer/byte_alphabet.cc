#include "engine/tokenizer/byte_alphabet.h"

#include <array>
#include <optional>

#include "engine/tokenizer/utf8.h"

namespace choir::engine {
namespace {

constexpr size_t kCharacters = 256 + 68;  // 68 bytes are not printable

// Bytes that are printable characters of Latin-1 stand for themselves.
constexpr bool IsPrintable(size_t byte) {
  return (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) ||
         (byte >= 0xae && byte <= 0xff);
}

struct Alphabet {
  Alphabet() {
    size_t next = 256;
    for (size_t byte = 0; byte < 256; ++byte) {
      const size_t code = IsPrintable(byte) ? byte : next++;
      characters[byte] = Encode(code);
      bytes[code] = static_cast<char>(byte);
    }
  }

  static std::string Encode(size_t code) {
    if (code < 0x80) return std::string(1, static_cast<char>(code));
    return {static_cast<char>(0xc0u | (code >> 6)), static_cast<char>(0x80u | (code & 0x3fu))};
  }

  std::array<std::string, 256> characters;
  std::array<std::optional<char>, kCharacters> bytes;
};

const Alphabet& TheAlphabet() {
  static const Alphabet alphabet;
  return alphabet;
}

}  // namespace

std::string_view ByteCharacter(uint8_t byte) {
  return TheAlphabet().characters[byte];
}

std::string ToByteCharacters(std::string_view bytes) {
  std::string out;
  out.reserve(bytes.size() * 2);
  for (const char c : bytes) out += ByteCharacter(static_cast<uint8_t>(c));
  return out;
}

std::string FromByteCharacters(std::string_view text) {
  const Alphabet& alphabet = TheAlphabet();
  std::string out;
  while (!text.empty()) {
    const std::string_view character = FirstCharacter(text);
    text.remove_prefix(character.size());
    size_t code = static_cast<uint8_t>(character[0]);
    if (character.size() == 2) {
      code = ((code & 0x1fu) << 6) | (static_cast<uint8_t>(character[1]) & 0x3fu);
    }
    const bool inside = character.size() == 2 || code < 0x80;
    if (inside && code < kCharacters && alphabet.bytes[code].has_value()) {
      out += *alphabet.bytes[code];
    } else {
      out += character;
    }
  }
  return out;
}

}  // namespace choir::engine
