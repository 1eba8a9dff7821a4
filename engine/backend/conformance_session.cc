#include "engine/backend/conformance_session.h"

#include <algorithm>
#include <cstring>

#include "base/status_macros.h"

namespace choir::engine {
namespace {

constexpr uint64_t kModelFileAlignment = 32;

std::vector<float> ToFloats(const RefTensor& tensor) {
  return {tensor.values.begin(), tensor.values.end()};
}

std::vector<uint8_t> Encode(const TensorDesc& desc, const RefTensor& value) {
  if (desc.dtype == DType::kWeight) return EncodeRows(desc, value);
  const std::vector<float> floats = ToFloats(value);
  const std::span<const uint8_t> bytes = BytesOf(std::span(floats));
  return {bytes.begin(), bytes.end()};
}

}  // namespace

void ConformanceSession::SetValue(TensorId id, const RefTensor& value,
                                  std::span<const uint8_t> weight_bytes) {
  if (graph_.tensor(id).desc.dtype == DType::kWeight && !IsState(id)) {
    weights_[id].assign(weight_bytes.begin(), weight_bytes.end());
  } else {
    values_[id] = value;
  }
}

bool ConformanceSession::IsState(TensorId id) const {
  const Tensor& tensor = graph_.tensor(id);
  if (tensor.kind != TensorKind::kPersistent) return false;
  if (tensor.desc.dtype == DType::kF32) return true;
  // A cache: what kv_append writes, and cached_attention reads.
  return std::any_of(graph_.nodes().begin(), graph_.nodes().end(), [id](const Node& node) {
    const auto& tensors = node.op->name == "cached_attention" ? node.inputs : node.updates;
    return std::find(tensors.begin(), tensors.end(), id) != tensors.end();
  });
}

absl::Status ConformanceSession::PlaceWeights() {
  if (weights_.empty()) return absl::OkStatus();
  std::map<TensorId, uint64_t> offsets;
  uint64_t size = kModelFileAlignment;  // so that no weight starts the blob
  for (const auto& [id, bytes] : weights_) {
    offsets[id] = size;
    size += (bytes.size() + kModelFileAlignment - 1) / kModelFileAlignment * kModelFileAlignment;
  }
  weight_blob_.resize(size / sizeof(Chunk) + 1);
  auto* const blob = &weight_blob_[0].bytes[0];
  for (const auto& [id, bytes] : weights_) {
    std::copy(bytes.begin(), bytes.end(), blob + offsets[id]);
  }
  CHOIR_ASSIGN_OR_RETURN(const std::shared_ptr<DeviceBuffer> buffer,
                         backend_.WrapWeights({blob, size}));
  for (const auto& [id, offset] : offsets) bindings_[id] = {buffer, offset};
  return absl::OkStatus();
}

absl::Status ConformanceSession::PlaceState() {
  std::vector<TensorId> ids;
  uint64_t size = 4;
  const auto room = [this](TensorId id) {
    return (static_cast<uint64_t>(SizeBytes(graph_.tensor(id).desc)) + 3) / 4 * 4;
  };
  for (size_t i = 0; i < graph_.tensors().size(); ++i) {
    const auto id = static_cast<TensorId>(i);
    if (!IsState(id)) continue;
    ids.push_back(id);
    size += room(id);
  }
  if (ids.empty()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const std::shared_ptr<DeviceBuffer> buffer, backend_.Allocate(size));
  uint64_t offset = 4;
  for (const TensorId id : ids) {
    bindings_[id] = {buffer, offset};
    const auto value = values_.find(id);
    if (value != values_.end()) {
      CHOIR_RETURN_IF_ERROR(
          backend_.Write(*buffer, offset, Encode(graph_.tensor(id).desc, value->second)));
    }
    offset += room(id);
  }
  return absl::OkStatus();
}

absl::Status ConformanceSession::Run(const CompileOptions& options, int times) {
  for (const Node& node : graph_.nodes()) {
    CHOIR_RETURN_IF_ERROR(backend_.Supports(graph_, node));
  }
  CHOIR_RETURN_IF_ERROR(PlaceWeights());
  CHOIR_RETURN_IF_ERROR(PlaceState());
  CHOIR_ASSIGN_OR_RETURN(executable_, backend_.Compile(graph_, bindings_, options));
  for (const auto& [id, value] : values_) {
    if (graph_.tensor(id).kind != TensorKind::kInput) continue;
    if (graph_.tensor(id).desc.dtype == DType::kI32) {
      CHOIR_RETURN_IF_ERROR(executable_->WriteInput(id, BytesOf(std::span(value.ints))));
    } else {
      const std::vector<float> floats = ToFloats(value);
      CHOIR_RETURN_IF_ERROR(executable_->WriteInput(id, BytesOf(std::span(floats))));
    }
  }
  for (int i = 0; i < times; ++i) CHOIR_RETURN_IF_ERROR(executable_->Run());
  return absl::OkStatus();
}

absl::StatusOr<RefTensor> ConformanceSession::Value(TensorId id) {
  const Tensor& tensor = graph_.tensor(id);
  std::vector<uint8_t> bytes(static_cast<size_t>(SizeBytes(tensor.desc)));
  if (tensor.kind == TensorKind::kPersistent) {
    const Binding& binding = bindings_.at(id);
    CHOIR_RETURN_IF_ERROR(backend_.Read(*binding.buffer, binding.offset_bytes, bytes));
  } else {
    CHOIR_RETURN_IF_ERROR(executable_->ReadOutput(id, bytes));
  }
  if (tensor.desc.dtype == DType::kWeight) return RefWeight(tensor.desc, bytes);
  std::vector<float> floats(bytes.size() / sizeof(float));
  std::memcpy(floats.data(), bytes.data(), bytes.size());
  return RefF32(tensor.desc.shape, {floats.begin(), floats.end()});
}

}  // namespace choir::engine
