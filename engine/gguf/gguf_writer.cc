#include "engine/gguf/gguf_writer.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/atomic_file.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "engine/gguf/gguf_file.h"

namespace choir::engine {
namespace {

template <typename T>
void Put(T value, std::string& out) {
  static_assert(std::is_arithmetic_v<T>);
  char raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof(T));
  out.append(raw, sizeof(T));
}

void PutString(std::string_view text, std::string& out) {
  Put<uint64_t>(text.size(), out);
  out.append(text);
}

void PutType(GgufType type, std::string& out) {
  Put(static_cast<uint32_t>(type), out);
}

template <typename T>
std::string EncodeScalar(GgufType type, T value) {
  std::string out;
  PutType(type, out);
  Put(value, out);
  return out;
}

std::string ArrayHead(GgufType element_type, uint64_t count) {
  std::string out;
  PutType(GgufType::kArray, out);
  PutType(element_type, out);
  Put(count, out);
  return out;
}

template <typename T>
std::string EncodeArray(GgufType element_type, std::span<const T> values) {
  std::string out = ArrayHead(element_type, values.size());
  for (const T value : values) Put(value, out);
  return out;
}

uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

// Bytes of a tensor; INVALID_ARGUMENT if the shape does not suit the type or overflows.
absl::StatusOr<uint64_t> TensorBytes(std::string_view name, uint32_t type,
                                     std::span<const uint64_t> dims) {
  const TensorTypeLayout* layout = FindTensorTypeLayout(type);
  if (layout == nullptr || dims.empty() || dims.size() > 4 ||
      dims[0] % layout->block_elements != 0) {
    return absl::InvalidArgumentError(fmt::format("tensor {}: {} axes of {} cannot be written",
                                                  name, dims.size(), TensorTypeName(type)));
  }
  uint64_t blocks = dims[0] / layout->block_elements;
  for (const uint64_t dim : dims.subspan(1)) {
    if (dim == 0 || blocks > std::numeric_limits<int64_t>::max() / layout->block_bytes / dim) {
      return absl::InvalidArgumentError(fmt::format("tensor {}: an axis of {}", name, dim));
    }
    blocks *= dim;
  }
  if (blocks == 0) return absl::InvalidArgumentError(fmt::format("tensor {} is empty", name));
  return blocks * layout->block_bytes;
}

}  // namespace

GgufWriter::GgufWriter(uint32_t alignment) : alignment_(alignment) {
  if (alignment_ != 32) SetU32("general.alignment", alignment_);
}

void GgufWriter::SetU32(std::string_view key, uint32_t value) {
  SetEncoded(key, EncodeScalar(GgufType::kU32, value));
}

void GgufWriter::SetU64(std::string_view key, uint64_t value) {
  SetEncoded(key, EncodeScalar(GgufType::kU64, value));
}

void GgufWriter::SetI32(std::string_view key, int32_t value) {
  SetEncoded(key, EncodeScalar(GgufType::kI32, value));
}

void GgufWriter::SetF32(std::string_view key, float value) {
  SetEncoded(key, EncodeScalar(GgufType::kF32, value));
}

void GgufWriter::SetBool(std::string_view key, bool value) {
  SetEncoded(key, EncodeScalar(GgufType::kBool, static_cast<uint8_t>(value ? 1 : 0)));
}

void GgufWriter::SetString(std::string_view key, std::string_view value) {
  std::string out;
  PutType(GgufType::kString, out);
  PutString(value, out);
  SetEncoded(key, std::move(out));
}

void GgufWriter::SetStringArray(std::string_view key, std::span<const std::string> values) {
  std::string out = ArrayHead(GgufType::kString, values.size());
  for (const std::string& value : values) PutString(value, out);
  SetEncoded(key, std::move(out));
}

void GgufWriter::SetF32Array(std::string_view key, std::span<const float> values) {
  SetEncoded(key, EncodeArray(GgufType::kF32, values));
}

void GgufWriter::SetI32Array(std::string_view key, std::span<const int32_t> values) {
  SetEncoded(key, EncodeArray(GgufType::kI32, values));
}

void GgufWriter::SetU32Array(std::string_view key, std::span<const uint32_t> values) {
  SetEncoded(key, EncodeArray(GgufType::kU32, values));
}

void GgufWriter::SetEntry(const GgufEntry& entry) {
  std::string out;
  if (entry.type == GgufType::kArray) {
    out = ArrayHead(entry.element_type, entry.count);
  } else {
    PutType(entry.type, out);
    if (entry.type == GgufType::kString) Put<uint64_t>(entry.payload.size(), out);
  }
  out.append(AsChars(entry.payload));
  SetEncoded(entry.key, std::move(out));
}

void GgufWriter::SetEncoded(std::string_view key, std::string encoded) {
  const auto found =
      std::find_if(keys_.begin(), keys_.end(), [&](const KeyValue& kv) { return kv.key == key; });
  if (found != keys_.end()) {
    found->encoded = std::move(encoded);
  } else {
    keys_.push_back({std::string(key), std::move(encoded)});
  }
}

absl::Status GgufWriter::AddTensor(std::string_view name, uint32_t type,
                                   std::span<const uint64_t> dims, TensorSource source) {
  if (name.empty() || name.size() > GgufFile::kMaxNameBytes) {
    return absl::InvalidArgumentError(fmt::format("a tensor name has 1 to {} bytes, not {}",
                                                  GgufFile::kMaxNameBytes, name.size()));
  }
  const bool repeated = std::any_of(tensors_.begin(), tensors_.end(),
                                    [&](const Tensor& tensor) { return tensor.name == name; });
  if (repeated) return absl::InvalidArgumentError(fmt::format("tensor {} is added twice", name));
  CHOIR_ASSIGN_OR_RETURN(const uint64_t size, TensorBytes(name, type, dims));
  tensors_.push_back(
      {std::string(name), type, {dims.begin(), dims.end()}, size, std::move(source)});
  return absl::OkStatus();
}

absl::Status GgufWriter::AddTensor(std::string_view name, uint32_t type,
                                   std::span<const uint64_t> dims, std::span<const uint8_t> data) {
  CHOIR_ASSIGN_OR_RETURN(const uint64_t size, TensorBytes(name, type, dims));
  if (data.size() != size) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {} takes {} bytes, {} were given", name, size, data.size()));
  }
  return AddTensor(name, type, dims, [data](const ByteSink& sink) { return sink(data); });
}

absl::Status GgufWriter::AddF32(std::string_view name, std::span<const uint64_t> dims,
                                std::span<const float> values) {
  return AddTensor(name, kTensorF32, dims,
                   std::span(reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()));
}

absl::StatusOr<std::string> GgufWriter::EncodeHeader() const {
  if (!std::has_single_bit(alignment_) || alignment_ < GgufFile::kMinAlignment ||
      alignment_ > GgufFile::kMaxAlignment) {
    return absl::InvalidArgumentError(fmt::format("{} is no GGUF alignment", alignment_));
  }
  std::string out = "GGUF";
  Put<uint32_t>(3, out);
  Put<uint64_t>(tensors_.size(), out);
  Put<uint64_t>(keys_.size(), out);
  for (const KeyValue& kv : keys_) {
    if (kv.key.empty() || kv.key.size() > GgufFile::kMaxKeyBytes ||
        kv.key.find('\0') != std::string::npos) {
      return absl::InvalidArgumentError(
          fmt::format("a GGUF key of {} bytes is empty, too long or holds a NUL", kv.key.size()));
    }
    PutString(kv.key, out);
    out += kv.encoded;
  }
  uint64_t offset = 0;
  for (const Tensor& tensor : tensors_) {
    PutString(tensor.name, out);
    Put(static_cast<uint32_t>(tensor.dims.size()), out);
    for (const uint64_t dim : tensor.dims) Put(dim, out);
    Put(tensor.type, out);
    Put(offset, out);
    offset = AlignUp(offset + tensor.size_bytes, alignment_);
  }
  out.resize(AlignUp(out.size(), alignment_), '\0');
  return out;
}

absl::Status GgufWriter::WriteTensor(const Tensor& tensor, const ByteSink& sink) const {
  uint64_t written = 0;
  CHOIR_RETURN_IF_ERROR(tensor.source([&](std::span<const uint8_t> piece) {
    written += piece.size();
    return sink(piece);
  }));
  if (written != tensor.size_bytes) {
    return absl::InvalidArgumentError(fmt::format("tensor {} takes {} bytes, its source gave {}",
                                                  tensor.name, tensor.size_bytes, written));
  }
  const std::string padding(AlignUp(written, alignment_) - written, '\0');
  return sink(AsBytes(padding));
}

absl::Status GgufWriter::WriteTo(const ByteSink& sink) const {
  CHOIR_ASSIGN_OR_RETURN(const std::string header, EncodeHeader());
  CHOIR_RETURN_IF_ERROR(sink(AsBytes(header)));
  for (const Tensor& tensor : tensors_) CHOIR_RETURN_IF_ERROR(WriteTensor(tensor, sink));
  return absl::OkStatus();
}

absl::Status GgufWriter::WriteFile(const std::string& path) const {
  CHOIR_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  CHOIR_RETURN_IF_ERROR(
      WriteTo([&file](std::span<const uint8_t> piece) { return file.Append(piece); }));
  return file.Commit();
}

absl::StatusOr<std::string> GgufWriter::Serialize() const {
  std::string out;
  CHOIR_RETURN_IF_ERROR(WriteTo([&out](std::span<const uint8_t> piece) {
    out.append(AsChars(piece));
    return absl::OkStatus();
  }));
  return out;
}

}  // namespace choir::engine
