#include "engine/model/device_model.h"

#include <algorithm>
#include <set>
#include <string_view>

#include <fmt/format.h>

#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "engine/model/forward_builder.h"

namespace choir::engine {
namespace {

using NamedBindings = std::map<std::string, Binding, std::less<>>;

void BindByName(const Graph& graph, const NamedBindings& names, Bindings& bindings) {
  for (size_t id = 0; id < graph.tensors().size(); ++id) {
    const Tensor& tensor = graph.tensors()[id];
    if (tensor.kind != TensorKind::kPersistent) continue;
    const auto found = names.find(tensor.name);
    if (found != names.end()) bindings[static_cast<TensorId>(id)] = found->second;
  }
}

// Of zeros, written at once.
constexpr uint64_t kZeroBytes = uint64_t{256} << 10;

uint64_t FlatBytes(int64_t num_elements) {
  return static_cast<uint64_t>(num_elements) * 4;
}

}  // namespace

absl::StatusOr<DeviceModel> DeviceModel::Load(Backend& backend, const Model& model,
                                              const WeightResidency& residency) {
  DeviceModel result;
  const std::set<std::string_view> streamed = WeightsToStream(model, residency);
  for (const GgufTensor& tensor : model.file().tensors()) {
    CHOIR_ASSIGN_OR_RETURN(std::shared_ptr<DeviceBuffer> buffer,
                           streamed.contains(tensor.name) ? backend.StreamWeights(tensor.bytes)
                                                          : backend.WrapWeights(tensor.bytes));
    // A device that has its own copy needs the file's no more.
    if (!buffer->reads_in_place()) ReleaseMapped(tensor.bytes);
    result.weights_[tensor.name] = {std::move(buffer), 0};
    result.weight_bytes_ += tensor.bytes.size();
  }
  return result;
}

void DeviceModel::Bind(const Graph& graph, Bindings& bindings) const {
  BindByName(graph, weights_, bindings);
}

absl::StatusOr<DeviceAdapter> DeviceAdapter::Create(Backend& backend, AdapterLayout layout,
                                                    bool for_training) {
  DeviceAdapter result(backend, std::move(layout));
  CHOIR_RETURN_IF_ERROR(result.Allocate(AdapterPart::kParameters));
  if (for_training) {
    for (const AdapterPart part :
         {AdapterPart::kGradients, AdapterPart::kFirstMoments, AdapterPart::kSecondMoments}) {
      CHOIR_RETURN_IF_ERROR(result.Allocate(part));
    }
    CHOIR_ASSIGN_OR_RETURN(result.squared_norm_, backend.Allocate(sizeof(float)));
    result.names_[std::string(kSquaredNormName)] = {result.squared_norm_, 0};
  }
  result.NameFactors();
  return result;
}

// A part, and the names of all ranges of it that an optimizer graph may ask for.
absl::Status DeviceAdapter::Allocate(AdapterPart part) {
  CHOIR_ASSIGN_OR_RETURN(const std::shared_ptr<DeviceBuffer> buffer,
                         backend_->Allocate(FlatBytes(layout_.num_elements)));
  parts_[part] = buffer;
  for (const TrainedFactors factors :
       {TrainedFactors::kBoth, TrainedFactors::kA, TrainedFactors::kB}) {
    for (const FlatRange& range : layout_.Trained(factors)) {
      names_[FlatName(part, range)] = {buffer, FlatBytes(range.offset)};
    }
  }
  return absl::OkStatus();
}

void DeviceAdapter::NameFactors() {
  const auto gradients = parts_.find(AdapterPart::kGradients);
  for (const AdapterSlot& slot : layout_.slots) {
    for (const auto& [name, offset] :
         {std::pair(slot.a_name(), slot.a_offset), std::pair(slot.b_name(), slot.b_offset)}) {
      names_[name] = {parts_.at(AdapterPart::kParameters), FlatBytes(offset)};
      if (gradients == parts_.end()) continue;
      names_[GradientName(name)] = {gradients->second, FlatBytes(offset)};
    }
  }
}

void DeviceAdapter::Bind(const Graph& graph, Bindings& bindings) const {
  BindByName(graph, names_, bindings);
}

absl::StatusOr<DeviceBuffer*> DeviceAdapter::Part(AdapterPart part) const {
  const auto found = parts_.find(part);
  if (found != parts_.end()) return found->second.get();
  return absl::FailedPreconditionError("this adapter was not made for training");
}

absl::StatusOr<DeviceBuffer*> DeviceAdapter::Part(AdapterPart part, size_t num_values) const {
  if (num_values == static_cast<size_t>(layout_.num_elements)) return Part(part);
  return absl::InvalidArgumentError(
      fmt::format("{} values for an adapter of {} parameters", num_values, layout_.num_elements));
}

absl::Status DeviceAdapter::Write(AdapterPart part, std::span<const float> values) {
  CHOIR_ASSIGN_OR_RETURN(DeviceBuffer* const buffer, Part(part, values.size()));
  return backend_->Write(*buffer, 0, BytesOf(values));
}

absl::StatusOr<std::vector<float>> DeviceAdapter::Read(AdapterPart part) const {
  std::vector<float> values(static_cast<size_t>(layout_.num_elements));
  CHOIR_ASSIGN_OR_RETURN(const DeviceBuffer* const buffer, Part(part, values.size()));
  CHOIR_RETURN_IF_ERROR(backend_->Read(*buffer, 0, MutableBytesOf(std::span(values))));
  return values;
}

absl::Status DeviceAdapter::Read(AdapterPart part, int64_t offset, std::span<float> values) const {
  CHOIR_ASSIGN_OR_RETURN(const DeviceBuffer* const buffer, Part(part));
  return backend_->Read(*buffer, FlatBytes(offset), MutableBytesOf(values));
}

absl::Status DeviceAdapter::Zero(AdapterPart part) {
  CHOIR_ASSIGN_OR_RETURN(DeviceBuffer* const buffer, Part(part));
  const std::vector<uint8_t> zeros(std::min<uint64_t>(buffer->size_bytes(), kZeroBytes));
  for (uint64_t offset = 0; offset < buffer->size_bytes(); offset += zeros.size()) {
    const uint64_t count = std::min<uint64_t>(zeros.size(), buffer->size_bytes() - offset);
    CHOIR_RETURN_IF_ERROR(backend_->Write(*buffer, offset, std::span(zeros).first(count)));
  }
  return absl::OkStatus();
}

absl::Status DeviceAdapter::ZeroSquaredNorm() {
  if (squared_norm_ == nullptr) {
    return absl::FailedPreconditionError("this adapter was not made for training");
  }
  const float zero = 0;
  return backend_->Write(*squared_norm_, 0, BytesOf(std::span(&zero, 1)));
}

absl::StatusOr<float> DeviceAdapter::ReadSquaredNorm() const {
  if (squared_norm_ == nullptr) {
    return absl::FailedPreconditionError("this adapter was not made for training");
  }
  float value = 0;
  CHOIR_RETURN_IF_ERROR(backend_->Read(*squared_norm_, 0, MutableBytesOf(std::span(&value, 1))));
  return value;
}

}  // namespace choir::engine
