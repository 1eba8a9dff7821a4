#include "tests/support/raw_gguf.h"

#include <cstring>

namespace choir {
namespace {

template <typename T>
void Append(T value, std::string& out) {
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out.append(raw, sizeof(T));
}

}  // namespace

RawGguf& RawGguf::U8(uint8_t value) {
  Append(value, bytes_);
  return *this;
}

RawGguf& RawGguf::U32(uint32_t value) {
  Append(value, bytes_);
  return *this;
}

RawGguf& RawGguf::U64(uint64_t value) {
  Append(value, bytes_);
  return *this;
}

RawGguf& RawGguf::F32(float value) {
  Append(value, bytes_);
  return *this;
}

RawGguf& RawGguf::String(std::string_view text) {
  return U64(text.size()).Bytes(text);
}

RawGguf& RawGguf::Bytes(std::string_view bytes) {
  bytes_ += bytes;
  return *this;
}

RawGguf& RawGguf::Zeros(size_t count) {
  bytes_.append(count, '\0');
  return *this;
}

RawGguf& RawGguf::PadTo(size_t alignment) {
  return Zeros((alignment - bytes_.size() % alignment) % alignment);
}

RawGguf& RawGguf::Head(uint64_t num_tensors, uint64_t num_keys, uint32_t version) {
  return Bytes("GGUF").U32(version).U64(num_tensors).U64(num_keys);
}

RawGguf& RawGguf::Key(std::string_view key, uint32_t type) {
  return String(key).U32(type);
}

RawGguf& RawGguf::KeyU32(std::string_view key, uint32_t value) {
  return Key(key, 4).U32(value);
}

RawGguf& RawGguf::Tensor(std::string_view name, const std::vector<uint64_t>& dims, uint32_t type,
                         uint64_t offset) {
  String(name).U32(static_cast<uint32_t>(dims.size()));
  for (const uint64_t dim : dims) U64(dim);
  return U32(type).U64(offset);
}

}  // namespace choir
