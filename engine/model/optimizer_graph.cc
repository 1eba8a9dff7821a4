#include "engine/model/optimizer_graph.h"

#include "base/status_macros.h"

namespace choir::engine {

absl::StatusOr<Graph> BuildGradNormGraph(const AdapterLayout& adapter, TrainedFactors factors) {
  Graph graph;
  const TensorId sum = graph.AddPersistent(std::string(kSquaredNormName), F32(1, 1));
  for (const FlatRange& range : adapter.Trained(factors)) {
    const TensorId gradient =
        graph.AddPersistent(FlatName(AdapterPart::kGradients, range), F32(1, range.count));
    CHOIR_RETURN_IF_ERROR(graph.AddNode("grad_norm", {gradient}, {}, {sum}).status());
  }
  return graph;
}

absl::StatusOr<AdamWGraph> BuildAdamWGraph(const AdapterLayout& adapter, TrainedFactors factors) {
  AdamWGraph result;
  result.hyper = result.graph.AddInput("hyper", F32(1, 8));
  for (const FlatRange& range : adapter.Trained(factors)) {
    std::vector<TensorId> parts;
    for (const AdapterPart part : {AdapterPart::kParameters, AdapterPart::kGradients,
                                   AdapterPart::kFirstMoments, AdapterPart::kSecondMoments}) {
      parts.push_back(result.graph.AddPersistent(FlatName(part, range), F32(1, range.count)));
    }
    CHOIR_RETURN_IF_ERROR(result.graph.AddNode("adamw", {result.hyper}, {}, parts).status());
  }
  return result;
}

}  // namespace choir::engine
