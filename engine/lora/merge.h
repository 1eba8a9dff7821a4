#ifndef CHOIR_ENGINE_LORA_MERGE_H_
#define CHOIR_ENGINE_LORA_MERGE_H_

// Makes adapters part of what they adapt, or of each other.

#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/gguf/gguf_file.h"
#include "engine/lora/adapter.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {

// Writes a copy of `base` in which each adapted tensor is W + scale * B A (sums in f64), and all
// else is as it was. `format`: of the adapted tensors; null: each keeps its own. One row at a time,
// so memory does not grow with the model; all or nothing.
//   NOT_FOUND         a target that the base lacks, or that serves it twice (tied output)
//   INVALID_ARGUMENT  one of another shape; a ternary tensor that is to stay ternary: rounding
//   would
//                     undo the adapter; rows that are no whole blocks of `format`
//   UNIMPLEMENTED     a format that cannot be read, or not written
absl::Status MergeIntoModel(const GgufFile& base, const Adapter& adapter,
                            const WeightFormat* format, const std::string& output);

struct WeightedAdapter {
  Adapter adapter;
  float weight = 1.0f;  // multiplies the adapter's own scale
};

// One adapter that does what all of them do together: A and B are put side by side along the rank,
// each B multiplied by its weight and scale. A single one of weight 1 stays as it is.
// INVALID_ARGUMENT: none, a weight that is not finite, shapes or architectures that differ, or
// ranks that sum to more than kMaxLoraRank.
absl::StatusOr<Adapter> StackAdapters(std::span<const WeightedAdapter> adapters);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_MERGE_H_
