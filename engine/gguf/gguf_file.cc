#include "engine/gguf/gguf_file.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <type_traits>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "engine/gguf/gguf_parser.h"

namespace choir::engine {
namespace {

template <typename T>
T LoadAt(const uint8_t* from) {
  T value;
  std::memcpy(&value, from, sizeof(T));
  return value;
}

absl::Status WrongKind(std::string_view key, std::string_view wanted, const GgufEntry& entry) {
  std::string found(GgufTypeName(entry.type));
  if (entry.type == GgufType::kArray) {
    found = fmt::format("an array of {}", GgufTypeName(entry.element_type));
  }
  return absl::InvalidArgumentError(
      fmt::format("GGUF: {} should be {}, but is {}", key, wanted, found));
}

// Calls f with the integer at `from`, in its own type. False if `type` is no integer type.
template <typename F>
bool VisitInteger(GgufType type, const uint8_t* from, F f) {
  switch (type) {
    case GgufType::kU8:
      return f(LoadAt<uint8_t>(from)), true;
    case GgufType::kI8:
      return f(LoadAt<int8_t>(from)), true;
    case GgufType::kU16:
      return f(LoadAt<uint16_t>(from)), true;
    case GgufType::kI16:
      return f(LoadAt<int16_t>(from)), true;
    case GgufType::kU32:
      return f(LoadAt<uint32_t>(from)), true;
    case GgufType::kI32:
      return f(LoadAt<int32_t>(from)), true;
    case GgufType::kU64:
      return f(LoadAt<uint64_t>(from)), true;
    case GgufType::kI64:
      return f(LoadAt<int64_t>(from)), true;
    default:
      return false;
  }
}

template <typename T>
absl::StatusOr<T> LoadInteger(std::string_view key, const GgufEntry& entry, GgufType type,
                              const uint8_t* from) {
  T out = 0;
  absl::Status status;
  const bool integer = VisitInteger(type, from, [&](auto value) {
    if (!std::in_range<T>(value)) {
      status = absl::InvalidArgumentError(fmt::format("GGUF: {} holds {}, outside {} to {}", key,
                                                      value, std::numeric_limits<T>::min(),
                                                      std::numeric_limits<T>::max()));
      return;
    }
    out = static_cast<T>(value);
  });
  if (!integer) return WrongKind(key, "an integer", entry);
  if (!status.ok()) return status;
  return out;
}

absl::StatusOr<float> LoadFloat(std::string_view key, const GgufEntry& entry, GgufType type,
                                const uint8_t* from) {
  if (type == GgufType::kF32) return LoadAt<float>(from);
  if (type == GgufType::kF64) return static_cast<float>(LoadAt<double>(from));
  return WrongKind(key, "a float", entry);
}

absl::Status Missing(std::string_view key) {
  return absl::NotFoundError(fmt::format("GGUF: the file has no key {}", key));
}

template <typename T>
absl::StatusOr<T> GetInteger(const GgufEntry* entry, std::string_view key,
                             std::optional<T> fallback) {
  if (entry != nullptr) return LoadInteger<T>(key, *entry, entry->type, entry->payload.data());
  if (fallback.has_value()) return *fallback;
  return Missing(key);
}

// Every element of an array through `load(entry, element type, place)`.
template <typename T, typename Load>
absl::StatusOr<std::vector<T>> GetArray(const GgufEntry* entry, std::string_view key, Load load) {
  if (entry == nullptr) return Missing(key);
  if (entry->type != GgufType::kArray || GgufTypeBytes(entry->element_type) == 0) {
    return WrongKind(key, "an array of numbers", *entry);
  }
  const uint64_t step = GgufTypeBytes(entry->element_type);
  std::vector<T> out;
  out.reserve(entry->count);  // the payload holds that many: it was checked
  for (uint64_t i = 0; i < entry->count; ++i) {
    CHOIR_ASSIGN_OR_RETURN(
        const T value, load(key, *entry, entry->element_type, entry->payload.data() + i * step));
    out.push_back(value);
  }
  return out;
}

}  // namespace

std::string GgufTensor::ShapeString() const {
  return fmt::format("[{}]", fmt::join(dims.begin(), dims.begin() + num_dims, ", "));
}

absl::StatusOr<GgufFile> GgufFile::Open(const std::string& path) {
  GgufFile file;
  CHOIR_ASSIGN_OR_RETURN(file.map_, MappedFile::Open(path));
  file.bytes_ = file.map_->bytes();
  if (absl::Status status = file.ParseAll(); !status.ok()) {
    return absl::Status(status.code(), fmt::format("{}: {}", path, std::string(status.message())));
  }
  return file;
}

absl::StatusOr<GgufFile> GgufFile::Parse(std::span<const uint8_t> bytes) {
  GgufFile file;
  file.bytes_ = bytes;
  CHOIR_RETURN_IF_ERROR(file.ParseAll());
  return file;
}

absl::Status GgufFile::ParseAll() {
  CHOIR_ASSIGN_OR_RETURN(GgufHeader header, ParseGgufHeader(bytes_));
  version_ = header.version;
  alignment_ = header.alignment;
  entries_ = std::move(header.entries);
  tensors_ = std::move(header.tensors);
  for (size_t i = 0; i < entries_.size(); ++i) entry_index_.emplace(entries_[i].key, i);
  for (size_t i = 0; i < tensors_.size(); ++i) tensor_index_.emplace(tensors_[i].name, i);
  return absl::OkStatus();
}

const GgufTensor* GgufFile::FindTensor(std::string_view name) const {
  const auto found = tensor_index_.find(std::string(name));
  return found != tensor_index_.end() ? &tensors_[found->second] : nullptr;
}

absl::StatusOr<const GgufTensor*> GgufFile::GetTensor(std::string_view name) const {
  const GgufTensor* tensor = FindTensor(name);
  if (tensor == nullptr) {
    return absl::NotFoundError(fmt::format("GGUF: the file has no tensor {}", name));
  }
  return tensor;
}

const GgufEntry* GgufFile::FindEntry(std::string_view key) const {
  const auto found = entry_index_.find(std::string(key));
  return found != entry_index_.end() ? &entries_[found->second] : nullptr;
}

absl::StatusOr<uint32_t> GgufFile::GetU32(std::string_view key,
                                          std::optional<uint32_t> fallback) const {
  return GetInteger<uint32_t>(FindEntry(key), key, fallback);
}

absl::StatusOr<uint64_t> GgufFile::GetU64(std::string_view key,
                                          std::optional<uint64_t> fallback) const {
  return GetInteger<uint64_t>(FindEntry(key), key, fallback);
}

absl::StatusOr<int32_t> GgufFile::GetI32(std::string_view key,
                                         std::optional<int32_t> fallback) const {
  return GetInteger<int32_t>(FindEntry(key), key, fallback);
}

absl::StatusOr<int64_t> GgufFile::GetI64(std::string_view key,
                                         std::optional<int64_t> fallback) const {
  return GetInteger<int64_t>(FindEntry(key), key, fallback);
}

absl::StatusOr<float> GgufFile::GetF32(std::string_view key, std::optional<float> fallback) const {
  const GgufEntry* entry = FindEntry(key);
  if (entry != nullptr) return LoadFloat(key, *entry, entry->type, entry->payload.data());
  if (fallback.has_value()) return *fallback;
  return Missing(key);
}

absl::StatusOr<bool> GgufFile::GetBool(std::string_view key, std::optional<bool> fallback) const {
  const GgufEntry* entry = FindEntry(key);
  if (entry == nullptr)
    return fallback.has_value() ? absl::StatusOr<bool>(*fallback) : Missing(key);
  if (entry->type != GgufType::kBool) return WrongKind(key, "a bool", *entry);
  return entry->payload[0] == 1;
}

absl::StatusOr<std::string_view> GgufFile::GetString(
    std::string_view key, std::optional<std::string_view> fallback) const {
  const GgufEntry* entry = FindEntry(key);
  if (entry == nullptr) {
    return fallback.has_value() ? absl::StatusOr<std::string_view>(*fallback) : Missing(key);
  }
  if (entry->type != GgufType::kString) return WrongKind(key, "a string", *entry);
  return AsChars(entry->payload);
}

absl::StatusOr<std::vector<std::string_view>> GgufFile::GetStringArray(std::string_view key) const {
  const GgufEntry* entry = FindEntry(key);
  if (entry == nullptr) return Missing(key);
  if (entry->type != GgufType::kArray || entry->element_type != GgufType::kString) {
    return WrongKind(key, "an array of strings", *entry);
  }
  std::vector<std::string_view> out;
  out.reserve(entry->count);
  std::string_view rest = AsChars(entry->payload);
  for (uint64_t i = 0; i < entry->count; ++i) {
    const auto size = LoadAt<uint64_t>(AsBytes(rest).data());
    out.push_back(rest.substr(8, size));
    rest.remove_prefix(8 + size);
  }
  return out;
}

absl::StatusOr<std::vector<float>> GgufFile::GetF32Array(std::string_view key) const {
  return GetArray<float>(FindEntry(key), key, LoadFloat);
}

absl::StatusOr<std::vector<int32_t>> GgufFile::GetI32Array(std::string_view key) const {
  return GetArray<int32_t>(FindEntry(key), key, LoadInteger<int32_t>);
}

absl::StatusOr<std::vector<uint32_t>> GgufFile::GetU32Array(std::string_view key) const {
  return GetArray<uint32_t>(FindEntry(key), key, LoadInteger<uint32_t>);
}

}  // namespace choir::engine
