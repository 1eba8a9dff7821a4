#ifndef CHOIR_ENGINE_TOKENIZER_UTF8_H_
#define CHOIR_ENGINE_TOKENIZER_UTF8_H_

#include <cstddef>
#include <cstdint>

namespace choir::engine {

// How many bytes the UTF-8 sequence that begins with this byte has, by the byte alone: 1 for ASCII
// and for continuation bytes (RFC 3629). Says nothing about the bytes that follow.
inline size_t Utf8LengthByLead(uint8_t lead) {
  if (lead < 0xc0u) return 1;
  if (lead < 0xe0u) return 2;
  return lead < 0xf0u ? 3 : 4;
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TOKENIZER_UTF8_H_
