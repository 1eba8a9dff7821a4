#include "engine/model/kv_cache.h"

#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/model/forward_builder.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr std::string_view kTypeNames[] = {"f32", "f16", "q8_0"};

}  // namespace

std::string_view KvCacheTypeName(KvCacheType type) {
  return kTypeNames[static_cast<size_t>(type)];
}

absl::StatusOr<KvCacheType> ParseKvCacheType(std::string_view name) {
  for (size_t i = 0; i < std::size(kTypeNames); ++i) {
    if (name == kTypeNames[i]) return static_cast<KvCacheType>(i);
  }
  return absl::InvalidArgumentError(
      fmt::format("no KV cache type is called {}; there are f32, f16 and q8_0", name));
}

absl::StatusOr<TensorDesc> KvCacheDesc(KvCacheType type, int64_t rows, int64_t cols) {
  if (type == KvCacheType::kF32) return F32(rows, cols);
  const WeightFormat& format = type == KvCacheType::kF16 ? kF16Format : kQ8_0Format;
  const auto block = static_cast<int64_t>(format.block_elements);
  if (cols % block != 0) {
    return absl::InvalidArgumentError(
        fmt::format("a {} KV cache needs rows of whole blocks of {}; this model's have {} elements",
                    KvCacheTypeName(type), block, cols));
  }
  return Weight(&format, rows, cols);
}

absl::StatusOr<uint64_t> KvCacheBytes(const ModelSpec& spec, int64_t rows, KvCacheType type) {
  CHOIR_ASSIGN_OR_RETURN(const TensorDesc desc, KvCacheDesc(type, rows, spec.kv_cols()));
  return static_cast<uint64_t>(SizeBytes(desc)) * 2 * spec.layers.size();
}

absl::StatusOr<KvCache> KvCache::Create(Backend& backend, const ModelSpec& spec, int64_t rows,
                                        KvCacheType type) {
  if (rows < 1 || rows > spec.context_length) {
    return absl::InvalidArgumentError(fmt::format(
        "a cache of {} positions; the model's context is {}", rows, spec.context_length));
  }
  CHOIR_ASSIGN_OR_RETURN(const TensorDesc desc, KvCacheDesc(type, rows, spec.kv_cols()));
  KvCache result;
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    for (const std::string_view part : {"k", "v"}) {
      CHOIR_ASSIGN_OR_RETURN(std::shared_ptr<DeviceBuffer> buffer,
                             backend.Allocate(static_cast<uint64_t>(SizeBytes(desc))));
      result.caches_[CacheName(static_cast<int64_t>(layer), part)] = {std::move(buffer), 0};
    }
  }
  return result;
}

void KvCache::Bind(const Graph& graph, Bindings& bindings) const {
  for (const auto& [name, binding] : caches_) {
    const absl::StatusOr<TensorId> id = graph.Find(name);
    if (id.ok()) bindings[*id] = binding;
  }
}

}  // namespace choir::engine
