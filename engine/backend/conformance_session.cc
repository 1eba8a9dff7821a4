#include "engine/backend/conformance_session.h"

#include <algorithm>

#include "base/status_macros.h"

namespace choir::engine {
namespace {

constexpr uint64_t kModelFileAlignment = 32;

std::vector<float> ToFloats(const RefTensor& tensor) {
  return {tensor.values.begin(), tensor.values.end()};
}

std::vector<TensorId> Persistents(const Graph& graph, DType dtype) {
  std::vector<TensorId> ids;
  for (size_t id = 0; id < graph.tensors().size(); ++id) {
    const Tensor& tensor = graph.tensors()[id];
    if (tensor.kind != TensorKind::kPersistent || tensor.desc.dtype != dtype) continue;
    ids.push_back(static_cast<TensorId>(id));
  }
  return ids;
}

}  // namespace

void ConformanceSession::SetValue(TensorId id, const RefTensor& value,
                                  std::span<const uint8_t> weight_bytes) {
  if (graph_.tensor(id).desc.dtype == DType::kWeight) {
    weights_[id].assign(weight_bytes.begin(), weight_bytes.end());
  } else {
    values_[id] = value;
  }
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
  const std::vector<TensorId> ids = Persistents(graph_, DType::kF32);
  if (ids.empty()) return absl::OkStatus();
  uint64_t size = 4;
  for (const TensorId id : ids) size += static_cast<uint64_t>(SizeBytes(graph_.tensor(id).desc));
  CHOIR_ASSIGN_OR_RETURN(const std::shared_ptr<DeviceBuffer> buffer, backend_.Allocate(size));
  uint64_t offset = 4;
  for (const TensorId id : ids) {
    bindings_[id] = {buffer, offset};
    const auto value = values_.find(id);
    if (value != values_.end()) {
      const std::vector<float> floats = ToFloats(value->second);
      CHOIR_RETURN_IF_ERROR(backend_.Write(*buffer, offset, BytesOf(std::span(floats))));
    }
    offset += static_cast<uint64_t>(SizeBytes(graph_.tensor(id).desc));
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
  std::vector<float> floats(static_cast<size_t>(tensor.desc.shape.NumElements()));
  const std::span<uint8_t> bytes = MutableBytesOf(std::span(floats));
  if (tensor.kind == TensorKind::kPersistent) {
    const Binding& binding = bindings_.at(id);
    CHOIR_RETURN_IF_ERROR(backend_.Read(*binding.buffer, binding.offset_bytes, bytes));
  } else {
    CHOIR_RETURN_IF_ERROR(executable_->ReadOutput(id, bytes));
  }
  return RefF32(tensor.desc.shape, {floats.begin(), floats.end()});
}

}  // namespace choir::engine
