#ifndef CHOIR_ENGINE_LORA_SAFETENSORS_H_
#define CHOIR_ENGINE_LORA_SAFETENSORS_H_

// The safetensors container, in which Hugging Face tools keep tensors: the length of a JSON header
// (u64, little-endian), the header ({"name": {"dtype", "shape", "data_offsets"}, "__metadata__":
// {text: text}}), then the tensors' bytes without gaps. https://github.com/huggingface/safetensors

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/mapped_file.h"

namespace choir::engine {

// Row-major: shape[num_dims - 1] is the fastest axis.
struct SafetensorsTensor {
  std::string name;
  std::string dtype;  // "F32", "BF16", ...
  uint32_t num_dims = 0;
  std::array<uint64_t, 4> shape = {1, 1, 1, 1};
  // Points into the file's memory, without any alignment.
  std::span<const uint8_t> bytes;

  // "[4, 64]".
  [[nodiscard]] std::string ShapeString() const;
};

// A file that was read. Tensors are views into the map and live as long as this object (moving it
// keeps them valid). Immutable after parsing, so thread-safe.
//
// Open, Parse -> DATA_LOSS         truncated, no JSON, a repeated name, or a length, offset or
// shape
//                                  that is a lie: overlaps, gaps, bytes that no tensor owns
//             -> INVALID_ARGUMENT  not a safetensors file, or an unknown dtype or field
class SafetensorsFile {
 public:
  // Limits far above any real adapter; a header beyond them is refused before work is done.
  static constexpr uint64_t kMaxHeaderBytes = uint64_t{16} << 20;
  static constexpr uint64_t kMaxTensors = uint64_t{1} << 16;
  static constexpr uint64_t kMaxNameBytes = 512;
  static constexpr uint64_t kMaxMetadata = 256;

  static absl::StatusOr<SafetensorsFile> Open(const std::string& path);
  // `bytes` must outlive the result.
  static absl::StatusOr<SafetensorsFile> Parse(std::span<const uint8_t> bytes);

  // In the header's order.
  [[nodiscard]] const std::vector<SafetensorsTensor>& tensors() const { return tensors_; }
  [[nodiscard]] const std::map<std::string, std::string>& metadata() const { return metadata_; }

 private:
  SafetensorsFile() = default;

  std::optional<MappedFile> map_;
  std::vector<SafetensorsTensor> tensors_;
  std::map<std::string, std::string> metadata_;
};

// A tensor to write, always F32. `values` are borrowed until the file is written.
struct SafetensorsOutput {
  std::vector<uint64_t> shape;
  std::span<const float> values;
};

// Replaces `path`, all or nothing; tensors in the order of their names, so the same arguments give
// the same bytes.
absl::Status WriteSafetensors(const std::map<std::string, SafetensorsOutput>& tensors,
                              const std::map<std::string, std::string>& metadata,
                              const std::string& path);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_SAFETENSORS_H_
