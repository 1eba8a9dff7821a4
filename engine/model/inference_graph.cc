#include "engine/model/inference_graph.h"

#include "base/status_macros.h"
#include "engine/model/forward_builder.h"

namespace choir::engine {
absl::StatusOr<LogitsGraph> BuildLogitsGraph(const Model& model, const AdapterLayout* adapter,
                                             int64_t tokens) {
  LogitsGraph result;
  result.ids = result.graph.AddInput("ids", I32(1, tokens));
  result.positions = result.graph.AddInput("positions", I32(1, tokens));
  result.segments = result.graph.AddInput("segments", I32(1, tokens));
  ForwardBuilder builder(result.graph, {.file = model.file(),
                                        .spec = model.spec(),
                                        .adapter = adapter,
                                        .positions = result.positions,
                                        .packed = PackedTokens{result.segments},
                                        .cached = std::nullopt});
  CHOIR_ASSIGN_OR_RETURN(const TensorId hidden, builder.HiddenStates(result.ids));
  CHOIR_ASSIGN_OR_RETURN(result.logits, builder.Logits(hidden));
  result.graph.MarkOutput(result.logits);
  return result;
}

absl::StatusOr<CachedGraph> BuildCachedGraph(const Model& model, const AdapterLayout* adapter,
                                             int64_t tokens, int64_t cache_rows,
                                             KvCacheType cache_type) {
  CachedGraph result;
  Graph& graph = result.graph;
  result.ids = graph.AddInput("ids", I32(1, tokens));
  result.positions = graph.AddInput("positions", I32(1, tokens));
  result.start = graph.AddInput("start", I32(1, 1));
  result.last_row = graph.AddInput("last_row", I32(1, 1));
  ForwardBuilder builder(graph, {.file = model.file(),
                                 .spec = model.spec(),
                                 .adapter = adapter,
                                 .positions = result.positions,
                                 .packed = std::nullopt,
                                 .cached = CachedTokens{result.start, cache_rows, cache_type}});
  CHOIR_ASSIGN_OR_RETURN(const TensorId hidden, builder.HiddenStates(result.ids));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<TensorId> last,
                         graph.AddNode("gather_rows", {hidden, result.last_row}));
  CHOIR_ASSIGN_OR_RETURN(result.logits, builder.Logits(last[0]));
  graph.MarkOutput(result.logits);
  return result;
}

}  // namespace choir::engine
