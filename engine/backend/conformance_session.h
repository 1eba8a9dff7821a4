#ifndef CHOIR_ENGINE_BACKEND_CONFORMANCE_SESSION_H_
#define CHOIR_ENGINE_BACKEND_CONFORMANCE_SESSION_H_

// Runs a graph on a backend with the reference's values, for tests: places weights as a model file
// does (32-byte multiples in one blob) and persistent f32 tensors and caches one after another in
// one buffer, as an adapter's factors lie, so that a backend meets offsets that are multiples of 4
// and no more.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/graph/reference_run.h"

namespace choir::engine {

class ConformanceSession {
 public:
  // Both outlive the session.
  ConformanceSession(Backend& backend, const Graph& graph) : backend_(backend), graph_(graph) {}

  // Before Run, for every input and for persistent tensors that do not start at zero; weights with
  // their encoded rows (caches that an op writes: none, their format has room for the values).
  void SetValue(TensorId id, const RefTensor& value, std::span<const uint8_t> weight_bytes);

  // Compiles and runs, `times` times with the same inputs.
  absl::Status Run(const CompileOptions& options, int times = 1);

  // After Run, of an output, or a persistent tensor that is f32 or was written.
  absl::StatusOr<RefTensor> Value(TensorId id);

 private:
  // Over-aligned, as a mapped file is.
  struct alignas(64) Chunk {
    uint8_t bytes[64];
  };

  absl::Status PlaceWeights();
  absl::Status PlaceState();
  [[nodiscard]] bool IsState(TensorId id) const;

  Backend& backend_;
  const Graph& graph_;
  std::map<TensorId, RefTensor> values_;
  std::map<TensorId, std::vector<uint8_t>> weights_;
  std::vector<Chunk> weight_blob_;
  std::map<TensorId, Binding> bindings_;
  std::unique_ptr<Executable> executable_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CONFORMANCE_SESSION_H_
