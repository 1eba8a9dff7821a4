#ifndef CHOIR_ENGINE_MODEL_FORWARD_BUILDER_H_
#define CHOIR_ENGINE_MODEL_FORWARD_BUILDER_H_

// The words in which an architecture writes its layers: each adds nodes to a graph and takes care
// of what all models share (weights by name, adapters, positions, segments or a KV cache).
// (T,C) in, (T,C) out, unless said otherwise.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/gguf/gguf_file.h"
#include "engine/graph/graph.h"
#include "engine/model/adapter_layout.h"
#include "engine/model/kv_cache.h"
#include "engine/model/model_spec.h"

namespace choir::engine {

// The persistent tensor of a layer's cache; `part` is "k" or "v".
std::string CacheName(int64_t layer, std::string_view part);

// How tokens see each other: within packed segments of one run, or through a cache over many runs.
struct PackedTokens {
  TensorId segments = -1;  // (1,T) i32
};
struct CachedTokens {
  TensorId start = -1;     // (1,1) i32: the cache row of the first token
  int64_t cache_rows = 0;  // S
  KvCacheType type = KvCacheType::kF32;
};

// Dropout on the inputs of adapters (engine/ops/dropout_mask.h).
struct LoraDropout {
  double rate = 0;
  TensorId key = -1;  // (1,3) i32
};

class ForwardBuilder {
 public:
  // All outlive the builder; `adapter` may be null. Exactly one of `packed` and `cached` is set.
  struct Context {
    const GgufFile& file;
    const ModelSpec& spec;
    const AdapterLayout* adapter = nullptr;
    TensorId positions = -1;  // (1,T) i32
    std::optional<PackedTokens> packed;
    std::optional<CachedTokens> cached;
    std::optional<LoraDropout> dropout = std::nullopt;  // in training only
  };
  ForwardBuilder(Graph& graph, Context context) : graph_(graph), context_(context) {}

  [[nodiscard]] const ModelSpec& spec() const { return context_.spec; }

  // ids (1,T) i32 -> (T,C), through all layers and the last norm.
  absl::StatusOr<TensorId> HiddenStates(TensorId ids);

  absl::StatusOr<TensorId> Embed(TensorId ids);
  // x (T,in) -> (T,out), with the adapter's factors where it has some for this layer's part, then
  // times the part's ".scale" and plus its ".bias" where the file has them.
  absl::StatusOr<TensorId> Linear(int64_t layer, std::string_view part, TensorId x);
  // Normalises each of `groups` equal groups of columns by itself.
  absl::StatusOr<TensorId> Norm(std::string_view weight, TensorId x, int64_t groups = 1);
  absl::StatusOr<TensorId> LayerNorm(int64_t layer, std::string_view part, TensorId x,
                                     int64_t groups = 1);
  absl::StatusOr<TensorId> Rope(int64_t layer, TensorId x);
  // q (T,H*D), k and v (T,KV*D) -> (T,H*D).
  absl::StatusOr<TensorId> Attention(int64_t layer, TensorId q, TensorId k, TensorId v);
  absl::StatusOr<TensorId> Glu(TensorId gate, TensorId up);
  absl::StatusOr<TensorId> Add(TensorId a, TensorId b);
  // hidden (N,C) -> (N,V), with the adapter's factors if the output has some.
  absl::StatusOr<TensorId> Logits(TensorId hidden);

  // The persistent tensors of an adapter's factors, and their dropout, if this base tensor has any.
  struct Factors {
    const AdapterSlot* slot = nullptr;
    TensorId a = -1;
    TensorId b = -1;
  };
  std::optional<Factors> FactorsOf(std::string_view base_tensor);
  // {"lora": 1, scale, and the dropout's rate and place}; appends the dropout's key to `inputs`.
  Attrs BypassAttributes(const Factors& factors, std::vector<TensorId>& inputs) const;
  // The persistent tensor of a weight of the file; one for each name.
  absl::StatusOr<TensorId> Weight(std::string_view name);

 private:
  absl::StatusOr<TensorId> One(std::string_view op, std::vector<TensorId> inputs, Attrs attrs);
  absl::StatusOr<TensorId> Project(const std::string& weight, TensorId x);
  [[nodiscard]] Attrs AttentionAttributes(int64_t layer) const;
  // Appends x to the layer's cache of keys ("k") or values ("v") and returns the cache.
  absl::StatusOr<TensorId> AppendToCache(int64_t layer, std::string_view part, TensorId x);
  TensorId Persistent(std::string_view name, TensorDesc desc);

  Graph& graph_;
  Context context_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_FORWARD_BUILDER_H_
