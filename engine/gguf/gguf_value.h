#ifndef CHOIR_ENGINE_GGUF_GGUF_VALUE_H_
#define CHOIR_ENGINE_GGUF_GGUF_VALUE_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace choir::engine {

// The value types of GGUF metadata, by their number in the file.
enum class GgufType : uint32_t {
  kU8 = 0,
  kI8 = 1,
  kU16 = 2,
  kI16 = 3,
  kU32 = 4,
  kI32 = 5,
  kF32 = 6,
  kBool = 7,
  kString = 8,
  kArray = 9,
  kU64 = 10,
  kI64 = 11,
  kF64 = 12,
};

// "u32", "string", ...
std::string_view GgufTypeName(GgufType type);

// Bytes of a value of a fixed-size type; 0 for string and array.
uint64_t GgufTypeBytes(GgufType type);

// One key and where its value lies. `payload` is the checked encoding, little-endian: the scalar;
// a string's characters; or the elements of an array (each string with its u64 length before it).
struct GgufEntry {
  std::string key;
  GgufType type = GgufType::kU32;
  // For arrays: the type of the elements and how many there are.
  GgufType element_type = GgufType::kU32;
  uint64_t count = 0;
  std::span<const uint8_t> payload;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GGUF_GGUF_VALUE_H_
