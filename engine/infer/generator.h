#ifndef CHOIR_ENGINE_INFER_GENERATOR_H_
#define CHOIR_ENGINE_INFER_GENERATOR_H_

// Continues a text, one token after another, through a KV cache.

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/infer/cached_model.h"
#include "engine/infer/sampler.h"
#include "engine/model/device_model.h"
#include "engine/model/model.h"

namespace choir::engine {

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
  int64_t prompt_tokens = 0;
  int64_t reused_tokens = 0;  // of the prompt, that the cache held already
};

// Called with text as it becomes complete; false cancels.
using OnText = std::function<bool(std::string_view text)>;

// Not thread-safe: it belongs to the backend's thread.
class Generator {
 public:
  explicit Generator(CachedModel model) : model_(std::move(model)) {}
  // As CachedModel::Create.
  static absl::StatusOr<Generator> Create(const Model& model, Backend& backend,
                                          const DeviceModel& weights, const DeviceAdapter* adapter,
                                          const CachedModelOptions& options);

  // Goes on from the longest beginning of `prompt` that earlier calls left in the cache. A prompt
  // may fill all but the last row of the context. INVALID_ARGUMENT: an empty prompt, one that fills
  // the context, or an id outside the vocabulary.
  absl::StatusOr<Generation> Generate(std::span<const int32_t> prompt, Sampler& sampler,
                                      const GenerateOptions& options, const OnText& on_text);

  [[nodiscard]] const CachedModel& model() const { return model_; }

 private:
  class TextStream;

  // Samples one token after `history`, and tells of it; a reason if it is to be the last.
  absl::StatusOr<std::optional<StopReason>> Step(Sampler& sampler, const GenerateOptions& options,
                                                 std::vector<int32_t>& history,
                                                 std::vector<int32_t>& ids, TextStream& stream);

  CachedModel model_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_INFER_GENERATOR_H_
