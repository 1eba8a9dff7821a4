#include "engine/gguf/gguf_parser.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <string_view>
#include <unordered_set>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"

namespace choir::engine {
namespace {

static_assert(std::endian::native == std::endian::little, "GGUF is read in place, little-endian");

// Walks the header; every read is checked against what is left.
class Cursor {
 public:
  explicit Cursor(std::span<const uint8_t> bytes) : bytes_(bytes) {}

  [[nodiscard]] uint64_t offset() const { return offset_; }
  [[nodiscard]] uint64_t remaining() const { return bytes_.size() - offset_; }

  template <typename T>
  absl::StatusOr<T> Read(std::string_view what) {
    T value;
    CHOIR_ASSIGN_OR_RETURN(const std::span<const uint8_t> raw, Take(sizeof(T), what));
    std::memcpy(&value, raw.data(), sizeof(T));
    return value;
  }

  absl::StatusOr<std::span<const uint8_t>> Take(uint64_t size, std::string_view what) {
    if (size > remaining()) {
      return absl::DataLossError(
          fmt::format("GGUF: {} needs {} bytes at offset {}, but {} are left", what, size, offset_,
                      remaining()));
    }
    const std::span<const uint8_t> out = bytes_.subspan(offset_, size);
    offset_ += size;
    return out;
  }

  absl::StatusOr<std::string_view> ReadString(std::string_view what) {
    CHOIR_ASSIGN_OR_RETURN(const uint64_t size, Read<uint64_t>(what));
    CHOIR_ASSIGN_OR_RETURN(const std::span<const uint8_t> raw, Take(size, what));
    return AsChars(raw);
  }

 private:
  std::span<const uint8_t> bytes_;
  uint64_t offset_ = 0;
};

absl::StatusOr<uint64_t> CheckedProduct(uint64_t a, uint64_t b, std::string_view what) {
  if (b != 0 && a > std::numeric_limits<uint64_t>::max() / b) {
    return absl::DataLossError(fmt::format("GGUF: {}: {} x {} overflows", what, a, b));
  }
  return a * b;
}

absl::Status CheckCount(std::string_view what, uint64_t count, uint64_t limit, uint64_t min_bytes,
                        const Cursor& cursor) {
  if (count > cursor.remaining() / min_bytes) {
    return absl::DataLossError(fmt::format("GGUF: {} {} do not fit in the {} bytes that are left",
                                           count, what, cursor.remaining()));
  }
  if (count > limit) {
    return absl::DataLossError(fmt::format("GGUF: {} {}; at most {} are read", count, what, limit));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> ReadPreamble(Cursor& cursor) {
  CHOIR_ASSIGN_OR_RETURN(const std::span<const uint8_t> magic, cursor.Take(4, "the magic number"));
  if (AsChars(magic) != "GGUF") {
    return absl::InvalidArgumentError("not a GGUF file: it does not begin with \"GGUF\"");
  }
  CHOIR_ASSIGN_OR_RETURN(const uint32_t version, cursor.Read<uint32_t>("the version"));
  if (version == 2 || version == 3) return version;
  if (version != 0 && (version & 0xffffu) == 0) {
    return absl::InvalidArgumentError("GGUF: a big-endian file; convert it to little-endian");
  }
  return absl::InvalidArgumentError(
      fmt::format("GGUF version {} is not known; versions 2 and 3 are", version));
}

absl::StatusOr<GgufType> ReadType(Cursor& cursor, std::string_view key) {
  CHOIR_ASSIGN_OR_RETURN(const uint32_t number, cursor.Read<uint32_t>("a value type"));
  if (number > static_cast<uint32_t>(GgufType::kF64)) {
    return absl::DataLossError(fmt::format("GGUF: {}: {} is no value type", key, number));
  }
  return static_cast<GgufType>(number);
}

absl::Status CheckBools(std::string_view key, std::span<const uint8_t> values) {
  const auto bad = std::find_if(values.begin(), values.end(), [](uint8_t v) { return v > 1; });
  if (bad == values.end()) return absl::OkStatus();
  return absl::DataLossError(fmt::format("GGUF: {}: a bool holds {}, not 0 or 1", key, *bad));
}

absl::Status ReadArray(Cursor& cursor, std::span<const uint8_t> file, GgufEntry& entry) {
  CHOIR_ASSIGN_OR_RETURN(entry.element_type, ReadType(cursor, entry.key));
  if (entry.element_type == GgufType::kArray) {
    return absl::DataLossError(fmt::format("GGUF: {}: an array of arrays", entry.key));
  }
  CHOIR_ASSIGN_OR_RETURN(entry.count, cursor.Read<uint64_t>("an array length"));
  const uint64_t fixed = GgufTypeBytes(entry.element_type);
  const bool strings = entry.element_type == GgufType::kString;
  CHOIR_RETURN_IF_ERROR(CheckCount(fmt::format("elements of {}", entry.key), entry.count,
                                   GgufFile::kMaxArrayElements, strings ? 8 : fixed, cursor));
  if (!strings) {
    CHOIR_ASSIGN_OR_RETURN(entry.payload, cursor.Take(entry.count * fixed, entry.key));
    return entry.element_type == GgufType::kBool ? CheckBools(entry.key, entry.payload)
                                                 : absl::OkStatus();
  }
  const uint64_t begin = cursor.offset();
  for (uint64_t i = 0; i < entry.count; ++i) {
    CHOIR_RETURN_IF_ERROR(cursor.ReadString(entry.key).status());
  }
  entry.payload = file.subspan(begin, cursor.offset() - begin);
  return absl::OkStatus();
}

absl::StatusOr<GgufEntry> ReadEntry(Cursor& cursor, std::span<const uint8_t> file) {
  GgufEntry entry;
  CHOIR_ASSIGN_OR_RETURN(const std::string_view key, cursor.ReadString("a key"));
  if (key.empty() || key.size() > GgufFile::kMaxKeyBytes || key.find('\0') != key.npos) {
    return absl::DataLossError(
        fmt::format("GGUF: a key of {} bytes at offset {} is empty, too long or holds a NUL",
                    key.size(), cursor.offset() - key.size()));
  }
  entry.key = std::string(key);
  CHOIR_ASSIGN_OR_RETURN(entry.type, ReadType(cursor, key));
  if (entry.type == GgufType::kArray) {
    CHOIR_RETURN_IF_ERROR(ReadArray(cursor, file, entry));
  } else if (entry.type == GgufType::kString) {
    CHOIR_ASSIGN_OR_RETURN(const std::string_view text, cursor.ReadString(key));
    entry.payload = AsBytes(text);
  } else {
    CHOIR_ASSIGN_OR_RETURN(entry.payload, cursor.Take(GgufTypeBytes(entry.type), key));
    if (entry.type == GgufType::kBool) CHOIR_RETURN_IF_ERROR(CheckBools(key, entry.payload));
  }
  return entry;
}

absl::StatusOr<std::vector<GgufEntry>> ReadEntries(Cursor& cursor, std::span<const uint8_t> file,
                                                   uint64_t count) {
  std::vector<GgufEntry> entries;
  std::unordered_set<std::string_view> seen;
  for (uint64_t i = 0; i < count; ++i) {
    CHOIR_ASSIGN_OR_RETURN(GgufEntry entry, ReadEntry(cursor, file));
    entries.push_back(std::move(entry));
  }
  for (const GgufEntry& entry : entries) {
    if (!seen.insert(entry.key).second) {
      return absl::DataLossError(fmt::format("GGUF: the key {} stands twice", entry.key));
    }
  }
  return entries;
}

absl::StatusOr<uint64_t> FindAlignment(const std::vector<GgufEntry>& entries) {
  for (const GgufEntry& entry : entries) {
    if (entry.key != "general.alignment") continue;
    uint32_t value = 0;
    if (entry.type != GgufType::kU32) {
      return absl::DataLossError(
          fmt::format("GGUF: general.alignment is of type {}, not u32", GgufTypeName(entry.type)));
    }
    std::memcpy(&value, entry.payload.data(), sizeof(value));
    if (!std::has_single_bit(value) || value < GgufFile::kMinAlignment ||
        value > GgufFile::kMaxAlignment) {
      return absl::DataLossError(
          fmt::format("GGUF: general.alignment is {}; a power of two from {} to {} is allowed",
                      value, GgufFile::kMinAlignment, GgufFile::kMaxAlignment));
    }
    return value;
  }
  return 32;
}

absl::Status ReadShape(Cursor& cursor, GgufTensor& tensor) {
  CHOIR_ASSIGN_OR_RETURN(tensor.num_dims, cursor.Read<uint32_t>("a number of axes"));
  if (tensor.num_dims < 1 || tensor.num_dims > tensor.dims.size()) {
    return absl::DataLossError(fmt::format("GGUF: tensor {} has {} axes; 1 to 4 are allowed",
                                           tensor.name, tensor.num_dims));
  }
  uint64_t elements = 1;
  for (uint32_t i = 0; i < tensor.num_dims; ++i) {
    CHOIR_ASSIGN_OR_RETURN(tensor.dims[i], cursor.Read<uint64_t>("an axis"));
    if (tensor.dims[i] == 0) {
      return absl::DataLossError(
          fmt::format("GGUF: tensor {} has an axis of length 0", tensor.name));
    }
    CHOIR_ASSIGN_OR_RETURN(elements, CheckedProduct(elements, tensor.dims[i], tensor.name));
  }
  // Signed 64-bit arithmetic elsewhere must hold every element count.
  if (elements > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return absl::DataLossError(
        fmt::format("GGUF: tensor {} has {} elements", tensor.name, elements));
  }
  return absl::OkStatus();
}

struct PlacedTensor {
  GgufTensor tensor;
  uint64_t offset = 0;
  uint64_t size_bytes = 0;  // 1 for a type without layout: it lies somewhere, with some length
};

absl::StatusOr<PlacedTensor> ReadTensorInfo(Cursor& cursor, uint64_t alignment) {
  PlacedTensor placed;
  GgufTensor& tensor = placed.tensor;
  CHOIR_ASSIGN_OR_RETURN(const std::string_view name, cursor.ReadString("a tensor name"));
  if (name.empty() || name.size() > GgufFile::kMaxNameBytes || name.find('\0') != name.npos) {
    return absl::DataLossError(
        fmt::format("GGUF: a tensor name of {} bytes is empty, longer than {} or holds a NUL",
                    name.size(), GgufFile::kMaxNameBytes));
  }
  tensor.name = std::string(name);
  CHOIR_RETURN_IF_ERROR(ReadShape(cursor, tensor));
  CHOIR_ASSIGN_OR_RETURN(tensor.type, cursor.Read<uint32_t>("a tensor type"));
  CHOIR_ASSIGN_OR_RETURN(placed.offset, cursor.Read<uint64_t>("a tensor offset"));
  if (placed.offset % alignment != 0) {
    return absl::DataLossError(fmt::format("GGUF: tensor {}: offset {} is no multiple of {}",
                                           tensor.name, placed.offset, alignment));
  }
  const TensorTypeLayout* layout = FindTensorTypeLayout(tensor.type);
  if (layout == nullptr) {
    placed.size_bytes = 1;
    return placed;
  }
  if (tensor.dims[0] % layout->block_elements != 0) {
    return absl::DataLossError(
        fmt::format("GGUF: tensor {}: rows of {} elements are no whole number of {} blocks of {}",
                    tensor.name, tensor.dims[0], layout->name, layout->block_elements));
  }
  CHOIR_ASSIGN_OR_RETURN(placed.size_bytes,
                         CheckedProduct(tensor.num_elements() / layout->block_elements,
                                        layout->block_bytes, tensor.name));
  return placed;
}

absl::Status CheckNoOverlap(std::vector<const PlacedTensor*> placed) {
  std::sort(placed.begin(), placed.end(),
            [](const auto* x, const auto* y) { return x->offset < y->offset; });
  for (size_t i = 1; i < placed.size(); ++i) {
    const PlacedTensor& before = *placed[i - 1];
    if (placed[i]->offset - before.offset < before.size_bytes) {
      return absl::DataLossError(fmt::format("GGUF: tensors {} and {} overlap", before.tensor.name,
                                             placed[i]->tensor.name));
    }
  }
  return absl::OkStatus();
}

absl::Status PlaceTensors(std::span<const uint8_t> file, uint64_t data_begin,
                          std::vector<PlacedTensor>& placed) {
  if (placed.empty()) return absl::OkStatus();
  const uint64_t data_size = data_begin < file.size() ? file.size() - data_begin : 0;
  std::unordered_set<std::string_view> seen;
  std::vector<const PlacedTensor*> order;
  for (PlacedTensor& item : placed) {
    if (!seen.insert(item.tensor.name).second) {
      return absl::DataLossError(fmt::format("GGUF: the tensor {} stands twice", item.tensor.name));
    }
    if (item.offset > data_size || item.size_bytes > data_size - item.offset) {
      return absl::DataLossError(
          fmt::format("GGUF: tensor {}: bytes [{}, +{}) lie outside the {} bytes of data",
                      item.tensor.name, item.offset, item.size_bytes, data_size));
    }
    if (FindTensorTypeLayout(item.tensor.type) != nullptr) {
      item.tensor.bytes = file.subspan(data_begin + item.offset, item.size_bytes);
    }
    order.push_back(&item);
  }
  return CheckNoOverlap(std::move(order));
}

}  // namespace

absl::StatusOr<GgufHeader> ParseGgufHeader(std::span<const uint8_t> file) {
  Cursor cursor(file.first(std::min<uint64_t>(file.size(), GgufFile::kMaxHeaderBytes)));
  GgufHeader header;
  CHOIR_ASSIGN_OR_RETURN(header.version, ReadPreamble(cursor));
  CHOIR_ASSIGN_OR_RETURN(const uint64_t num_tensors, cursor.Read<uint64_t>("the tensor count"));
  CHOIR_ASSIGN_OR_RETURN(const uint64_t num_entries, cursor.Read<uint64_t>("the key count"));
  // The smallest entry: a key of one byte and a value of one. The smallest tensor: one axis.
  CHOIR_RETURN_IF_ERROR(
      CheckCount("keys", num_entries, GgufFile::kMaxKeyValues, 8 + 1 + 4 + 1, cursor));
  CHOIR_RETURN_IF_ERROR(
      CheckCount("tensors", num_tensors, GgufFile::kMaxTensors, 8 + 1 + 4 + 8 + 4 + 8, cursor));
  CHOIR_ASSIGN_OR_RETURN(header.entries, ReadEntries(cursor, file, num_entries));
  CHOIR_ASSIGN_OR_RETURN(header.alignment, FindAlignment(header.entries));
  std::vector<PlacedTensor> placed;
  for (uint64_t i = 0; i < num_tensors; ++i) {
    CHOIR_ASSIGN_OR_RETURN(PlacedTensor item, ReadTensorInfo(cursor, header.alignment));
    placed.push_back(std::move(item));
  }
  const uint64_t data_begin =
      (cursor.offset() + header.alignment - 1) / header.alignment * header.alignment;
  CHOIR_RETURN_IF_ERROR(PlaceTensors(file, data_begin, placed));
  for (PlacedTensor& item : placed) header.tensors.push_back(std::move(item.tensor));
  return header;
}

}  // namespace choir::engine
