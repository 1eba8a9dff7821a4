#include "engine/model/weight_residency.h"

#include <algorithm>

namespace choir::engine {
namespace {

bool IsTable(const Model& model, std::string_view name) {
  return name == kTokenEmbdTensor || name == model.spec().output_weight();
}

bool Stays(const Model& model, std::string_view table, const WeightResidency& residency) {
  return table == model.spec().output_weight() ? residency.output : residency.embedding;
}

}  // namespace

uint64_t BlockBytes(const Model& model) {
  uint64_t bytes = 0;
  for (const GgufTensor& tensor : model.file().tensors()) {
    if (!IsTable(model, tensor.name)) bytes += tensor.bytes.size();
  }
  return bytes;
}

uint64_t LeastBlockBytes(const Model& model) {
  uint64_t largest = 0;
  for (const GgufTensor& tensor : model.file().tensors()) {
    if (IsTable(model, tensor.name)) continue;
    largest = std::max<uint64_t>(largest, tensor.bytes.size());
  }
  return largest;
}

std::set<std::string_view> WeightsToStream(const Model& model, const WeightResidency& residency) {
  std::set<std::string_view> streamed;
  for (const GgufTensor& tensor : model.file().tensors()) {
    if (!IsTable(model, tensor.name)) continue;
    if (!Stays(model, tensor.name, residency)) streamed.insert(tensor.name);
  }
  if (BlockBytes(model) <= residency.block_bytes) return streamed;
  uint64_t room = residency.block_bytes - std::min(residency.block_bytes, LeastBlockBytes(model));
  for (const GgufTensor& tensor : model.file().tensors()) {
    if (IsTable(model, tensor.name)) continue;
    if (tensor.bytes.size() <= room) {
      room -= tensor.bytes.size();
    } else {
      room = 0;  // what is used together stays or goes together
      streamed.insert(tensor.name);
    }
  }
  return streamed;
}

}  // namespace choir::engine
