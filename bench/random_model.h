#ifndef CHOIR_BENCH_RANDOM_MODEL_H_
#define CHOIR_BENCH_RANDOM_MODEL_H_

#include <string>

#include "absl/status/statusor.h"

#include "bench/model_shape.h"
#include "engine/gguf/gguf_file.h"
#include "engine/model/model.h"
#include "engine/quant/weight_format.h"

namespace choir::bench {

// A model of this shape with random weights, in a temporary file of `folder` that is deleted before
// this returns: the mapping alone keeps it. Weights repeat every few hundred rows, which no speed
// and no memory depends on. All matrices have `format`, except that ternary models keep embedding
// and output in Q6_K, as llama.cpp writes them. `tokenizer` may be null; else its tokenizer is
// copied and must have the shape's vocabulary.
// RESOURCE_EXHAUSTED if the folder has no room; INVALID_ARGUMENT for a format that cannot be
// written or whose blocks do not divide the rows.
absl::StatusOr<engine::Model> MakeRandomModel(const ModelShape& shape,
                                              const engine::WeightFormat& format,
                                              const engine::GgufFile* tokenizer,
                                              const std::string& folder);

}  // namespace choir::bench

#endif  // CHOIR_BENCH_RANDOM_MODEL_H_
