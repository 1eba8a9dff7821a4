#ifndef CHOIR_ENGINE_GRAPH_REFERENCE_RUN_H_
#define CHOIR_ENGINE_GRAPH_REFERENCE_RUN_H_

// Runs a whole graph with the ops' references in double precision: slow, readable, the oracle of
// every backend and the way to test graphs without one.

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "absl/status/status.h"

#include "engine/graph/graph.h"

namespace choir::engine {

using RefValues = std::map<TensorId, RefTensor>;

// `values` has every input and persistent tensor in its shape; intermediates are added and
// persistent tensors updated. INVALID_ARGUMENT names one that is missing or has another size.
absl::Status RunReference(const Graph& graph, RefValues& values);

// A weight's encoded rows as the reference wants them, and back.
RefTensor RefWeight(const TensorDesc& desc, std::span<const uint8_t> bytes);
std::vector<uint8_t> EncodeRows(const TensorDesc& desc, const RefTensor& tensor);

RefTensor RefF32(Shape shape, std::vector<double> values);
RefTensor RefI32(Shape shape, std::vector<int32_t> values);
// All zero, i32 or real as `desc` says.
RefTensor RefZeros(const TensorDesc& desc);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GRAPH_REFERENCE_RUN_H_
