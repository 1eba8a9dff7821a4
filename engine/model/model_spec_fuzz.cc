// A model file from anywhere: whatever passes ReadModelSpec can be built into graphs.

#include <cstddef>
#include <cstdint>

#include "base/check.h"
#include "engine/graph/graph.h"
#include "engine/model/forward_builder.h"
#include "engine/model/model_spec.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace choir::engine;
  const auto file = GgufFile::Parse({data, size});
  if (!file.ok()) return 0;
  const auto spec = ReadModelSpec(*file);
  if (!spec.ok()) return 0;
  Graph graph;
  const TensorId ids = graph.AddInput("ids", I32(1, 3));
  const TensorId positions = graph.AddInput("positions", I32(1, 3));
  const TensorId segments = graph.AddInput("segments", I32(1, 3));
  ForwardBuilder builder(graph, {.file = *file,
                                 .spec = *spec,
                                 .adapter = nullptr,
                                 .positions = positions,
                                 .packed = PackedTokens{segments},
                                 .cached = std::nullopt});
  CHOIR_CHECK(builder.HiddenStates(ids).ok());
  return 0;
}
