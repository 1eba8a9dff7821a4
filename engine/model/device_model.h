#ifndef CHOIR_ENGINE_MODEL_DEVICE_MODEL_H_
#define CHOIR_ENGINE_MODEL_DEVICE_MODEL_H_

// What lives on a device: a model's weights, and an adapter with its training state (a KV cache has
// a file of its own). Each binds the persistent tensors that it owns, by name, for
// Backend::Compile:
//
//   Bindings bindings;
//   device_model.Bind(train.graph, bindings);
//   device_adapter.Bind(train.graph, bindings);
//   backend.Compile(train.graph, bindings, options);

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/model/adapter_layout.h"
#include "engine/model/model.h"
#include "engine/model/weight_residency.h"

namespace choir::engine {

using Bindings = std::map<TensorId, Binding>;

// The weights that the model's graphs read, on one backend. The CPU reads them from the mapped
// file, so `model` outlives this (wherever it moves) and all that was compiled with it.
class DeviceModel {
 public:
  static absl::StatusOr<DeviceModel> Load(Backend& backend, const Model& model,
                                          const WeightResidency& residency = {});

  void Bind(const Graph& graph, Bindings& bindings) const;
  [[nodiscard]] uint64_t weight_bytes() const { return weight_bytes_; }

 private:
  std::map<std::string, Binding, std::less<>> weights_;
  uint64_t weight_bytes_ = 0;
};

// An adapter on a backend, which outlives it: parameters, and for training the gradients, AdamW's
// moments and the squared norm, all zero at first.
class DeviceAdapter {
 public:
  static absl::StatusOr<DeviceAdapter> Create(Backend& backend, AdapterLayout layout,
                                              bool for_training);

  void Bind(const Graph& graph, Bindings& bindings) const;
  [[nodiscard]] const AdapterLayout& layout() const { return layout_; }

  // All elements of a part. INVALID_ARGUMENT if the count differs, FAILED_PRECONDITION for a part
  // that this adapter, not made for training, lacks.
  absl::Status Write(AdapterPart part, std::span<const float> values);
  [[nodiscard]] absl::StatusOr<std::vector<float>> Read(AdapterPart part) const;
  // Elements [offset, offset + values.size()). INVALID_ARGUMENT if they are not there.
  absl::Status Read(AdapterPart part, int64_t offset, std::span<float> values) const;
  // Without a copy of that size on the host.
  absl::Status Zero(AdapterPart part);

  absl::Status ZeroSquaredNorm();
  [[nodiscard]] absl::StatusOr<float> ReadSquaredNorm() const;

 private:
  DeviceAdapter(Backend& backend, AdapterLayout layout)
      : backend_(&backend), layout_(std::move(layout)) {}
  absl::Status Allocate(AdapterPart part);
  void NameFactors();
  absl::StatusOr<DeviceBuffer*> Part(AdapterPart part) const;
  absl::StatusOr<DeviceBuffer*> Part(AdapterPart part, size_t num_values) const;

  Backend* backend_;
  AdapterLayout layout_;
  std::map<AdapterPart, std::shared_ptr<DeviceBuffer>> parts_;
  std::map<std::string, Binding, std::less<>> names_;
  std::shared_ptr<DeviceBuffer> squared_norm_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_DEVICE_MODEL_H_
