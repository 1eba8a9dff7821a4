#ifndef CHOIR_ENGINE_MODEL_KV_CACHE_H_
#define CHOIR_ENGINE_MODEL_KV_CACHE_H_

// Keys and values of all tokens so far, on a device, so that each token is processed once.

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/model/device_model.h"
#include "engine/model/model_spec.h"
#include "engine/ops/tensor_desc.h"

namespace choir::engine {

// What the cache's numbers are stored as: 4, 2 and 34/32 bytes each. Arithmetic is f32 in any case.
enum class KvCacheType : uint8_t { kF32, kF16, kQ8_0 };
std::string_view KvCacheTypeName(KvCacheType type);  // "f32", "f16", "q8_0"
// INVALID_ARGUMENT names those that there are.
absl::StatusOr<KvCacheType> ParseKvCacheType(std::string_view name);

// One cache tensor of `rows` positions and `cols` = KV*D columns. INVALID_ARGUMENT if the columns
// are no whole number of the type's blocks (32 elements of q8_0).
absl::StatusOr<TensorDesc> KvCacheDesc(KvCacheType type, int64_t rows, int64_t cols);

// The bytes of all layers' keys and values. INVALID_ARGUMENT of KvCacheDesc.
absl::StatusOr<uint64_t> KvCacheBytes(const ModelSpec& spec, int64_t rows, KvCacheType type);

// The caches of all layers. Bind gives them to a graph that BuildCachedGraph made for the same
// rows and type.
class KvCache {
 public:
  // INVALID_ARGUMENT: rows below 1 or beyond the model's context, or the error of KvCacheDesc.
  // RESOURCE_EXHAUSTED: the device has no room.
  static absl::StatusOr<KvCache> Create(Backend& backend, const ModelSpec& spec, int64_t rows,
                                        KvCacheType type = KvCacheType::kF32);

  void Bind(const Graph& graph, Bindings& bindings) const;

 private:
  std::map<std::string, Binding, std::less<>> caches_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_KV_CACHE_H_
