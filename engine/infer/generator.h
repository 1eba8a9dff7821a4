#ifndef CHOIR_ENGINE_INFER_GENERATOR_H_
#define CHOIR_ENGINE_INFER_GENERATOR_H_

// Continues a text, one token after another, through a KV cache.

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/infer/sampler.h"
#include "engine/model/device_model.h"
#include "engine/model/inference_graph.h"
#include "engine/model/model.h"

namespace choir::engine {

struct GeneratorOptions {
  int64_t context_tokens = 512;  // rows of the cache: prompt and new tokens together
  int64_t prompt_tokens = 64;    // of the prompt that are processed at once
  Compute compute = Compute::kF32;
};

struct GenerateOptions {
  int64_t max_new_tokens = 128;
  bool stop_at_end = true;  // at EOS, or the end of a turn
  std::vector<std::string> stop_strings{};
};

enum class StopReason : uint8_t { kMaxTokens, kEndOfText, kStopString, kContextFull, kCancelled };
std::string_view StopReasonName(StopReason reason);  // "max_tokens", "end_of_text", ...

struct Generation {
  std::vector<int32_t> ids;  // new ones, without the token that ended the text
  std::string text;          // of the new ids, up to a stop string
  StopReason reason = StopReason::kMaxTokens;
};

// Called with text as it becomes complete; false cancels.
using OnText = std::function<bool(std::string_view text)>;

// Not thread-safe: it belongs to the backend's thread.
class Generator {
 public:
  // The references, and `adapter` if it is not null, outlive the generator. INVALID_ARGUMENT for
  // sizes that make no sense.
  static absl::StatusOr<Generator> Create(const Model& model, Backend& backend,
                                          const DeviceModel& weights, const DeviceAdapter* adapter,
                                          const GeneratorOptions& options);

  // Each call starts anew. INVALID_ARGUMENT: an empty prompt, one that fills the context, or an id
  // outside the vocabulary.
  absl::StatusOr<Generation> Generate(std::span<const int32_t> prompt, Sampler& sampler,
                                      const GenerateOptions& options, const OnText& on_text);

 private:
  struct Program {
    CachedGraph graph;
    int64_t tokens = 0;
    std::unique_ptr<Executable> executable;
  };

  class TextStream;

  Generator(const Model& model, KvCache cache) : model_(&model), cache_(std::move(cache)) {}
  // Feeds `ids` (at most program.tokens) at cache row `start`; leaves the last one's logits.
  absl::Status Feed(Program& program, std::span<const int32_t> ids, int64_t start);
  absl::Status FeedPrompt(std::span<const int32_t> prompt);
  // Samples one token and, if it goes on, feeds it.
  absl::StatusOr<std::optional<StopReason>> Step(Sampler& sampler, const GenerateOptions& options,
                                                 std::vector<int32_t>& history,
                                                 std::vector<int32_t>& ids, TextStream& stream);

  const Model* model_;
  KvCache cache_;
  int64_t rows_ = 0;
  Program prompt_program_;
  Program step_program_;
  std::vector<float> logits_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_INFER_GENERATOR_H_
