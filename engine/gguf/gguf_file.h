#ifndef CHOIR_ENGINE_GGUF_GGUF_FILE_H_
#define CHOIR_ENGINE_GGUF_GGUF_FILE_H_

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/mapped_file.h"
#include "engine/gguf/gguf_value.h"
#include "engine/gguf/tensor_type.h"

namespace choir::engine {

// One tensor of a file. dims[0] is the fastest axis, the row length: a linear layer from `in` to
// `out` has dims {in, out}. Axes beyond num_dims are 1. All sizes were checked when it was parsed.
struct GgufTensor {
  std::string name;
  uint32_t type = 0;
  uint32_t num_dims = 0;
  std::array<uint64_t, 4> dims = {1, 1, 1, 1};
  // Points into the file's memory. Empty if `type` has no known layout.
  std::span<const uint8_t> bytes;

  [[nodiscard]] uint64_t row_elements() const { return dims[0]; }
  [[nodiscard]] uint64_t num_rows() const { return dims[1] * dims[2] * dims[3]; }
  [[nodiscard]] uint64_t num_elements() const { return dims[0] * num_rows(); }
  // "[64, 172]", the axes that the file names.
  [[nodiscard]] std::string ShapeString() const;
};

// A model, vocabulary or adapter in the GGUF container (versions 2 and 3, little-endian). Reading
// the header never touches tensor data, so opening a file of many gigabytes is instant; tensors and
// strings are views into the map and live as long as this object (moving it keeps them valid).
// Immutable after parsing, so thread-safe.
//
// Open, Parse -> DATA_LOSS         truncated, or a length, offset, count or shape is a lie
//             -> INVALID_ARGUMENT  not a GGUF file, big-endian, or another version
class GgufFile {
 public:
  // Limits, far above any real file: a header that exceeds them is refused before work is done.
  static constexpr uint64_t kMaxHeaderBytes = uint64_t{512} << 20;
  static constexpr uint64_t kMaxKeyValues = uint64_t{1} << 16;
  static constexpr uint64_t kMaxTensors = uint64_t{1} << 16;
  static constexpr uint64_t kMaxKeyBytes = (uint64_t{1} << 16) - 1;
  static constexpr uint64_t kMaxNameBytes = 64;
  static constexpr uint64_t kMaxArrayElements = uint64_t{1} << 24;
  static constexpr uint64_t kMinAlignment = 8;
  static constexpr uint64_t kMaxAlignment = uint64_t{1} << 16;

  static absl::StatusOr<GgufFile> Open(const std::string& path);
  // `bytes` must outlive the result.
  static absl::StatusOr<GgufFile> Parse(std::span<const uint8_t> bytes);

  [[nodiscard]] uint32_t version() const { return version_; }
  [[nodiscard]] uint64_t alignment() const { return alignment_; }
  [[nodiscard]] uint64_t size_bytes() const { return bytes_.size(); }

  // In the file's order.
  [[nodiscard]] const std::vector<GgufTensor>& tensors() const { return tensors_; }
  // Null if there is none.
  [[nodiscard]] const GgufTensor* FindTensor(std::string_view name) const;
  // NOT_FOUND with the name.
  [[nodiscard]] absl::StatusOr<const GgufTensor*> GetTensor(std::string_view name) const;

  // In the file's order.
  [[nodiscard]] const std::vector<GgufEntry>& entries() const { return entries_; }
  [[nodiscard]] bool Has(std::string_view key) const { return FindEntry(key) != nullptr; }

  // Typed metadata. An absent key gives `fallback`, or NOT_FOUND if there is none; a value of
  // another kind, or out of the asked type's range, is INVALID_ARGUMENT with the key's name. Any
  // integer type serves for an integer, f32 and f64 for a float.
  [[nodiscard]] absl::StatusOr<uint32_t> GetU32(std::string_view key,
                                                std::optional<uint32_t> fallback = {}) const;
  [[nodiscard]] absl::StatusOr<uint64_t> GetU64(std::string_view key,
                                                std::optional<uint64_t> fallback = {}) const;
  [[nodiscard]] absl::StatusOr<int32_t> GetI32(std::string_view key,
                                               std::optional<int32_t> fallback = {}) const;
  [[nodiscard]] absl::StatusOr<int64_t> GetI64(std::string_view key,
                                               std::optional<int64_t> fallback = {}) const;
  [[nodiscard]] absl::StatusOr<float> GetF32(std::string_view key,
                                             std::optional<float> fallback = {}) const;
  [[nodiscard]] absl::StatusOr<bool> GetBool(std::string_view key,
                                             std::optional<bool> fallback = {}) const;
  [[nodiscard]] absl::StatusOr<std::string_view> GetString(
      std::string_view key, std::optional<std::string_view> fallback = {}) const;

  // Arrays: NOT_FOUND if absent, INVALID_ARGUMENT if no array or of another element kind.
  [[nodiscard]] absl::StatusOr<std::vector<std::string_view>> GetStringArray(
      std::string_view key) const;
  [[nodiscard]] absl::StatusOr<std::vector<float>> GetF32Array(std::string_view key) const;
  [[nodiscard]] absl::StatusOr<std::vector<int32_t>> GetI32Array(std::string_view key) const;
  [[nodiscard]] absl::StatusOr<std::vector<uint32_t>> GetU32Array(std::string_view key) const;

 private:
  GgufFile() = default;
  absl::Status ParseAll();
  [[nodiscard]] const GgufEntry* FindEntry(std::string_view key) const;

  std::optional<MappedFile> map_;
  std::span<const uint8_t> bytes_;
  uint32_t version_ = 0;
  uint64_t alignment_ = 32;
  std::vector<GgufEntry> entries_;
  std::vector<GgufTensor> tensors_;
  std::unordered_map<std::string, size_t> entry_index_;
  std::unordered_map<std::string, size_t> tensor_index_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GGUF_GGUF_FILE_H_
