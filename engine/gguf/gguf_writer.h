#ifndef CHOIR_ENGINE_GGUF_GGUF_WRITER_H_
#define CHOIR_ENGINE_GGUF_GGUF_WRITER_H_

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/gguf/gguf_value.h"

namespace choir::engine {

// Builds a GGUF file (version 3). Keys and tensors stand in the order of the calls, and nothing
// else enters the file, so the same calls give the same bytes. Not thread-safe.
//
// A key that is set again keeps its place and takes the new value. Mistakes (an empty or too long
// name, a repeated tensor, data of the wrong size) are reported by the call or by the final write.
class GgufWriter {
 public:
  // Receives the bytes of a tensor, in as many pieces as the source likes.
  using ByteSink = std::function<absl::Status(std::span<const uint8_t>)>;
  // Produces a tensor's bytes, when the file is written.
  using TensorSource = std::function<absl::Status(const ByteSink&)>;

  // `alignment`: a power of two between GgufFile::kMinAlignment and kMaxAlignment.
  explicit GgufWriter(uint32_t alignment = 32);

  void SetU32(std::string_view key, uint32_t value);
  void SetU64(std::string_view key, uint64_t value);
  void SetI32(std::string_view key, int32_t value);
  void SetF32(std::string_view key, float value);
  void SetBool(std::string_view key, bool value);
  void SetString(std::string_view key, std::string_view value);
  void SetStringArray(std::string_view key, std::span<const std::string> values);
  void SetF32Array(std::string_view key, std::span<const float> values);
  void SetI32Array(std::string_view key, std::span<const int32_t> values);
  void SetU32Array(std::string_view key, std::span<const uint32_t> values);
  // Copies an entry of a parsed file, whatever its type.
  void SetEntry(const GgufEntry& entry);

  // `dims` as in GgufTensor: dims[0] is the row length; 1 to 4 axes. `data` must stay valid until
  // the file is written. INVALID_ARGUMENT for a type without layout, a bad shape, name or size.
  absl::Status AddTensor(std::string_view name, uint32_t type, std::span<const uint64_t> dims,
                         std::span<const uint8_t> data);
  // The same with a source that must produce exactly the tensor's bytes.
  absl::Status AddTensor(std::string_view name, uint32_t type, std::span<const uint64_t> dims,
                         TensorSource source);
  // An f32 tensor.
  absl::Status AddF32(std::string_view name, std::span<const uint64_t> dims,
                      std::span<const float> values);

  // Streams the file to a temporary and renames it over `path`: a reader or a crash sees the old
  // file or the whole new one.
  [[nodiscard]] absl::Status WriteFile(const std::string& path) const;
  // The same bytes in memory.
  [[nodiscard]] absl::StatusOr<std::string> Serialize() const;

 private:
  struct KeyValue {
    std::string key;
    std::string encoded;  // type and value as in the file
  };
  struct Tensor {
    std::string name;
    uint32_t type = 0;
    std::vector<uint64_t> dims;
    uint64_t size_bytes = 0;
    TensorSource source;
  };

  void SetEncoded(std::string_view key, std::string encoded);
  [[nodiscard]] absl::StatusOr<std::string> EncodeHeader() const;
  absl::Status WriteTo(const ByteSink& sink) const;
  absl::Status WriteTensor(const Tensor& tensor, const ByteSink& sink) const;

  uint32_t alignment_;
  std::vector<KeyValue> keys_;
  std::vector<Tensor> tensors_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GGUF_GGUF_WRITER_H_
