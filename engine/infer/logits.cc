#include "engine/infer/logits.h"

#include <memory>
#include <numeric>

#include "base/status_macros.h"
#include "engine/model/inference_graph.h"

namespace choir::engine {

absl::StatusOr<std::vector<float>> ComputeLogits(const Model& model, Backend& backend,
                                                 const DeviceModel& weights,
                                                 const DeviceAdapter* adapter,
                                                 std::span<const int32_t> ids, Compute compute) {
  if (ids.empty()) return absl::InvalidArgumentError("there are no ids to compute logits of");
  CHOIR_RETURN_IF_ERROR(model.CheckTokens(ids));
  CHOIR_ASSIGN_OR_RETURN(const LogitsGraph graph,
                         BuildLogitsGraph(model, adapter == nullptr ? nullptr : &adapter->layout(),
                                          static_cast<int64_t>(ids.size())));
  Bindings bindings;
  weights.Bind(graph.graph, bindings);
  if (adapter != nullptr) adapter->Bind(graph.graph, bindings);
  CHOIR_ASSIGN_OR_RETURN(
      const std::unique_ptr<Executable> program,
      backend.Compile(graph.graph, bindings, CompileOptions{.compute = compute}));
  std::vector<int32_t> positions(ids.size());
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<int32_t> segments(ids.size(), 0);
  CHOIR_RETURN_IF_ERROR(program->WriteInput(graph.ids, BytesOf(ids)));
  CHOIR_RETURN_IF_ERROR(
      program->WriteInput(graph.positions, BytesOf(std::span<const int32_t>(positions))));
  CHOIR_RETURN_IF_ERROR(
      program->WriteInput(graph.segments, BytesOf(std::span<const int32_t>(segments))));
  CHOIR_RETURN_IF_ERROR(program->Run());
  std::vector<float> logits(ids.size() * static_cast<size_t>(model.spec().vocabulary));
  CHOIR_RETURN_IF_ERROR(
      program->ReadOutput(graph.logits, MutableBytesOf(std::span<float>(logits))));
  return logits;
}

}  // namespace choir::engine
