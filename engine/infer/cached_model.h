#ifndef CHOIR_ENGINE_INFER_CACHED_MODEL_H_
#define CHOIR_ENGINE_INFER_CACHED_MODEL_H_

// A model with a KV cache that knows which tokens it holds: whoever asks for what follows a text
// pays only for the tokens that the last text did not begin with. So a conversation grows turn by
// turn, and several endings of one prompt are compared, without either being told apart here.

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/model/device_model.h"
#include "engine/model/inference_graph.h"
#include "engine/model/kv_cache.h"
#include "engine/model/model.h"

namespace choir::engine {

struct CachedModelOptions {
  int64_t context_tokens = 512;  // rows of the cache
  int64_t prompt_tokens = 256;   // that are processed at once
  Compute compute = Compute::kF32;
  // Halves keep 11 bits of each key and value: every stored greedy text stays equal, and the next
  // token's distribution is within 3e-6 nats of the reference's (kv_cache_test.cc).
  KvCacheType kv_cache = KvCacheType::kF16;
};

// The sizes of the pieces in which a prompt is fed, from the largest down to one token: each is a
// program of its own.
std::vector<int64_t> PieceTokens(int64_t prompt_tokens, int64_t context_tokens);

// Not thread-safe: it belongs to the backend's thread.
class CachedModel {
 public:
  // The references, and `adapter` if it is not null, outlive it; an adapter's values must not
  // change. INVALID_ARGUMENT for sizes that make no sense.
  static absl::StatusOr<CachedModel> Create(const Model& model, Backend& backend,
                                            const DeviceModel& weights,
                                            const DeviceAdapter* adapter,
                                            const CachedModelOptions& options);

  // Logits (V) after the last of `ids`, valid until the next call. INVALID_ARGUMENT: no ids, more
  // than context_tokens(), or one outside the vocabulary.
  absl::StatusOr<std::span<const float>> Logits(std::span<const int32_t> ids);

  [[nodiscard]] const Model& model() const { return *model_; }
  [[nodiscard]] int64_t context_tokens() const { return rows_; }
  // How many of `ids`, from the first on, the cache holds.
  [[nodiscard]] int64_t Held(std::span<const int32_t> ids) const;
  // Tokens that went through the model since it was made, padding left out.
  [[nodiscard]] int64_t processed_tokens() const { return processed_tokens_; }

 private:
  struct Program {
    CachedGraph graph;
    int64_t tokens = 0;
    std::unique_ptr<Executable> executable;
  };

  CachedModel(const Model& model, KvCache cache) : model_(&model), cache_(std::move(cache)) {}
  absl::Status Compile(const DeviceModel& weights, const DeviceAdapter* adapter, Backend& backend,
                       const CachedModelOptions& options, int64_t tokens);
  // Feeds `ids` (at most program.tokens) at the cache's row `start`; leaves the last one's logits.
  absl::Status Feed(Program& program, std::span<const int32_t> ids, int64_t start);
  [[nodiscard]] Program& ProgramFor(int64_t tokens, int64_t start);

  const Model* model_;
  KvCache cache_;
  int64_t rows_ = 0;
  std::vector<Program> programs_;  // from most tokens down to one
  std::vector<int32_t> held_;      // what the cache's rows are, from row 0 on
  std::vector<float> logits_;      // after the last of held_
  int64_t processed_tokens_ = 0;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_INFER_CACHED_MODEL_H_
