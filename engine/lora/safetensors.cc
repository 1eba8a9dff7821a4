#include "engine/lora/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "base/atomic_file.h"
#include "base/file.h"
#include "base/status_macros.h"
#include "engine/lora/safetensors_header.h"
#include <nlohmann/json.hpp>

namespace choir::engine {
namespace {

static_assert(std::endian::native == std::endian::little, "tensors are read and written in place");

constexpr uint64_t kLengthBytes = 8;
// The header is padded with spaces, so that tensors are aligned as the format's own writer does.
constexpr size_t kAlignment = 8;

struct DtypeSize {
  std::string_view name;
  uint64_t bytes;
};
constexpr DtypeSize kDtypes[] = {{"BOOL", 1},    {"U8", 1},  {"I8", 1},  {"F8_E4M3", 1},
                                 {"F8_E5M2", 1}, {"I16", 2}, {"U16", 2}, {"F16", 2},
                                 {"BF16", 2},    {"I32", 4}, {"U32", 4}, {"F32", 4},
                                 {"F64", 8},     {"I64", 8}, {"U64", 8}};

absl::StatusOr<uint64_t> TensorBytes(const SafetensorsEntry& entry) {
  const auto* dtype = std::find_if(std::begin(kDtypes), std::end(kDtypes),
                                   [&](const DtypeSize& d) { return d.name == entry.dtype; });
  if (dtype == std::end(kDtypes)) {
    return absl::InvalidArgumentError(
        fmt::format("safetensors: {}: the dtype \"{}\" is not known", entry.name, entry.dtype));
  }
  uint64_t size = dtype->bytes;
  for (uint32_t i = 0; i < entry.num_dims; ++i) {
    const uint64_t dim = entry.shape[i];
    if (dim == 0 || size > std::numeric_limits<uint64_t>::max() / dim) {
      return absl::DataLossError(
          fmt::format("safetensors: {}: an axis of {} elements", entry.name, dim));
    }
    size *= dim;
  }
  return size;
}

// Offsets lie in the file and are as long as the shape says.
absl::StatusOr<SafetensorsTensor> PlaceTensor(const SafetensorsEntry& entry,
                                              std::span<const uint8_t> data) {
  CHOIR_ASSIGN_OR_RETURN(const uint64_t size, TensorBytes(entry));
  const auto [begin, end] = entry.offsets;
  if (begin > end || end > data.size()) {
    return absl::DataLossError(
        fmt::format("safetensors: {}: bytes {} to {} lie outside the {} bytes of data", entry.name,
                    begin, end, data.size()));
  }
  if (end - begin != size) {
    return absl::DataLossError(fmt::format("safetensors: {}: the shape takes {} bytes, not {}",
                                           entry.name, size, end - begin));
  }
  return SafetensorsTensor{entry.name, entry.dtype, entry.num_dims, entry.shape,
                           data.subspan(begin, size)};
}

// Each byte of data belongs to one tensor.
absl::Status CheckCover(const std::vector<SafetensorsTensor>& tensors,
                        std::span<const uint8_t> data) {
  std::vector<const SafetensorsTensor*> sorted;
  for (const SafetensorsTensor& tensor : tensors) sorted.push_back(&tensor);
  std::sort(sorted.begin(), sorted.end(),
            [](const auto* x, const auto* y) { return x->bytes.data() < y->bytes.data(); });
  uint64_t covered = 0;
  for (const SafetensorsTensor* tensor : sorted) {
    const auto begin = static_cast<uint64_t>(tensor->bytes.data() - data.data());
    if (begin != covered) {
      return absl::DataLossError(
          fmt::format("safetensors: {} begins at byte {}, the one before it ends at {}",
                      tensor->name, begin, covered));
    }
    covered += tensor->bytes.size();
  }
  if (covered == data.size()) return absl::OkStatus();
  return absl::DataLossError(
      fmt::format("safetensors: {} bytes belong to no tensor", data.size() - covered));
}

absl::StatusOr<std::string> EncodeHeader(const std::map<std::string, SafetensorsOutput>& tensors,
                                         const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const auto& [name, tensor] : tensors) {
    uint64_t elements = 1;
    for (const uint64_t dim : tensor.shape) elements *= dim;
    if (elements != tensor.values.size()) {
      return absl::InvalidArgumentError(fmt::format("safetensors: {}: {} values for [{}]", name,
                                                    tensor.values.size(),
                                                    fmt::join(tensor.shape, ", ")));
    }
    const uint64_t end = offset + tensor.values.size_bytes();
    header[name] = {{"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  using Json = nlohmann::ordered_json;
  std::string text = header.dump(-1, ' ', false, Json::error_handler_t::replace);
  text.append((kAlignment - text.size() % kAlignment) % kAlignment, ' ');
  return text;
}

}  // namespace

std::string SafetensorsTensor::ShapeString() const {
  return fmt::format("[{}]", fmt::join(shape.begin(), shape.begin() + num_dims, ", "));
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Open(const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(MappedFile map, MappedFile::Open(path));
  CHOIR_ASSIGN_OR_RETURN(SafetensorsFile file, Parse(map.bytes()));
  file.map_ = std::move(map);
  return file;
}

absl::StatusOr<SafetensorsFile> SafetensorsFile::Parse(std::span<const uint8_t> bytes) {
  if (bytes.size() < kLengthBytes) {
    return absl::DataLossError(
        fmt::format("safetensors: the file has {} bytes, less than its first field", bytes.size()));
  }
  uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, bytes.data(), kLengthBytes);
  const std::span<const uint8_t> rest = bytes.subspan(kLengthBytes);
  if (header_bytes > kMaxHeaderBytes) {
    return absl::InvalidArgumentError(
        fmt::format("no safetensors file, or one with a header of {} bytes; at most {} are read",
                    header_bytes, kMaxHeaderBytes));
  }
  if (header_bytes > rest.size()) {
    return absl::DataLossError(fmt::format("safetensors: a header of {} bytes in a file of {}",
                                           header_bytes, bytes.size()));
  }
  const std::span<const uint8_t> data = rest.subspan(header_bytes);
  CHOIR_ASSIGN_OR_RETURN(SafetensorsHeader header,
                         ParseSafetensorsHeader(AsChars(rest.first(header_bytes))));
  SafetensorsFile file;
  file.metadata_ = std::move(header.metadata);
  for (const SafetensorsEntry& entry : header.entries) {
    CHOIR_ASSIGN_OR_RETURN(SafetensorsTensor tensor, PlaceTensor(entry, data));
    file.tensors_.push_back(std::move(tensor));
  }
  CHOIR_RETURN_IF_ERROR(CheckCover(file.tensors_, data));
  return file;
}

absl::Status WriteSafetensors(const std::map<std::string, SafetensorsOutput>& tensors,
                              const std::map<std::string, std::string>& metadata,
                              const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(const std::string header, EncodeHeader(tensors, metadata));
  CHOIR_ASSIGN_OR_RETURN(AtomicFile file, AtomicFile::Create(path));
  const uint64_t length = header.size();
  CHOIR_RETURN_IF_ERROR(
      file.Append(std::span(reinterpret_cast<const uint8_t*>(&length), sizeof(length))));
  CHOIR_RETURN_IF_ERROR(file.Append(AsBytes(header)));
  for (const auto& [name, tensor] : tensors) {
    CHOIR_RETURN_IF_ERROR(file.Append(std::span(
        reinterpret_cast<const uint8_t*>(tensor.values.data()), tensor.values.size_bytes())));
  }
  return file.Commit();
}

}  // namespace choir::engine
