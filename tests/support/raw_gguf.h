#ifndef CHOIR_TESTS_SUPPORT_RAW_GGUF_H_
#define CHOIR_TESTS_SUPPORT_RAW_GGUF_H_

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace choir {

// Writes a GGUF file field by field, without any check: for files that lie.
class RawGguf {
 public:
  RawGguf& U8(uint8_t value);
  RawGguf& U32(uint32_t value);
  RawGguf& U64(uint64_t value);
  RawGguf& F32(float value);
  // A length and the characters.
  RawGguf& String(std::string_view text);
  RawGguf& Bytes(std::string_view bytes);
  RawGguf& Zeros(size_t count);
  RawGguf& PadTo(size_t alignment);

  // "GGUF", the version, the two counts.
  RawGguf& Head(uint64_t num_tensors, uint64_t num_keys, uint32_t version = 3);
  // A key and its value's type; the value must follow.
  RawGguf& Key(std::string_view key, uint32_t type);
  // A u32 entry.
  RawGguf& KeyU32(std::string_view key, uint32_t value);
  RawGguf& Tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                  uint64_t offset);

  [[nodiscard]] const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

}  // namespace choir

#endif  // CHOIR_TESTS_SUPPORT_RAW_GGUF_H_
