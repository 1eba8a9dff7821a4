#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/file.h"
#include "engine/gguf/gguf_file.h"
#include "engine/gguf/gguf_writer.h"

namespace choir::engine {
namespace {

// Asks for every key as every kind; the answers may be errors.
size_t ReadAllKinds(const GgufFile& file, const std::string& key) {
  size_t answers = 0;
  answers += file.GetU32(key).ok() + file.GetU64(key).ok() + file.GetI32(key).ok();
  answers += file.GetI64(key).ok() + file.GetF32(key).ok() + file.GetBool(key).ok();
  answers += file.GetString(key).ok() + file.GetStringArray(key).ok();
  answers += file.GetF32Array(key).ok() + file.GetI32Array(key).ok() + file.GetU32Array(key).ok();
  return answers;
}

// Touches the ends of every tensor, so that a bad extent faults.
uint64_t TouchTensors(const GgufFile& file) {
  uint64_t sum = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    CHOIR_CHECK(tensor.num_elements() > 0);
    if (!tensor.bytes.empty()) sum += tensor.bytes.front() + tensor.bytes.back();
  }
  return sum;
}

// A file made of what was read must be read again as the same.
void CheckCopy(const GgufFile& file) {
  GgufWriter writer(static_cast<uint32_t>(file.alignment()));
  for (const GgufEntry& entry : file.entries()) writer.SetEntry(entry);
  size_t tensors = 0;
  for (const GgufTensor& tensor : file.tensors()) {
    const std::span<const uint64_t> dims = std::span(tensor.dims).first(tensor.num_dims);
    if (!tensor.bytes.empty()) {
      CHOIR_CHECK(writer.AddTensor(tensor.name, tensor.type, dims, tensor.bytes).ok());
      ++tensors;
    }
  }
  const absl::StatusOr<std::string> bytes = writer.Serialize();
  CHOIR_CHECK(bytes.ok());
  const absl::StatusOr<GgufFile> copy = GgufFile::Parse(AsBytes(*bytes));
  CHOIR_CHECK(copy.ok());
  CHOIR_CHECK(copy->tensors().size() == tensors);
  for (const GgufEntry& entry : file.entries()) CHOIR_CHECK(copy->Has(entry.key));
}

}  // namespace
}  // namespace choir::engine

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using choir::engine::GgufFile;
  const absl::StatusOr<GgufFile> file = GgufFile::Parse({data, size});
  if (!file.ok()) return 0;
  for (const choir::engine::GgufEntry& entry : file->entries()) {
    choir::engine::ReadAllKinds(*file, entry.key);
  }
  choir::engine::TouchTensors(*file);
  choir::engine::CheckCopy(*file);
  return 0;
}
