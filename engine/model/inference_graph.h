#ifndef CHOIR_ENGINE_MODEL_INFERENCE_GRAPH_H_
#define CHOIR_ENGINE_MODEL_INFERENCE_GRAPH_H_

// The programs that predict: logits of all tokens at once, and of the last token through a KV
// cache. `adapter` may be null in both.

#include <cstdint>

#include "absl/status/statusor.h"

#include "engine/graph/graph.h"
#include "engine/model/adapter_layout.h"
#include "engine/model/kv_cache.h"
#include "engine/model/model.h"

namespace choir::engine {

// For inspection: materialises (T,V).
struct LogitsGraph {
  Graph graph;
  TensorId ids = -1;        // i32 (1,T)
  TensorId positions = -1;  // i32 (1,T)
  TensorId segments = -1;   // i32 (1,T)
  TensorId logits = -1;     // output, f32 (T,V)
};
absl::StatusOr<LogitsGraph> BuildLogitsGraph(const Model& model, const AdapterLayout* adapter,
                                             int64_t tokens);

// A run of T tokens that go on from `start` rows of cache. For a prompt build one with T = P and
// feed it in pieces; a last piece of n < P tokens is padded with any valid ids, and last_row says
// n - 1: rows of the cache beyond start + n hold rubbish that the next run overwrites before it is
// seen. start + T <= cache_rows is the caller's duty, so near the cache's end use the graph with
// T = 1, which also generates.
// Persistent tensors: weights, adapter factors, and the cache (KvCache::Bind).
struct CachedGraph {
  Graph graph;
  TensorId ids = -1;        // i32 (1,T)
  TensorId positions = -1;  // i32 (1,T): start, start + 1, ...
  TensorId start = -1;      // i32 (1,1)
  TensorId last_row = -1;   // i32 (1,1), in [0, T): the row whose logits are wanted
  TensorId logits = -1;     // output, f32 (1,V)
};
absl::StatusOr<CachedGraph> BuildCachedGraph(const Model& model, const AdapterLayout* adapter,
                                             int64_t tokens, int64_t cache_rows,
                                             KvCacheType cache_type = KvCacheType::kF32);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_INFERENCE_GRAPH_H_
