#ifndef CHOIR_ENGINE_MODEL_MODEL_TENSORS_H_
#define CHOIR_ENGINE_MODEL_MODEL_TENSORS_H_

// Checks a file's tensors against its hyperparameters, so that building graphs cannot fail for the
// file's reasons.

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/gguf/gguf_file.h"
#include "engine/model/architecture.h"
#include "engine/model/model_spec.h"

namespace choir::engine {

// Reads from the tensors what no key says: the vocabulary's size, a tied output, rope factors.
absl::Status ReadTensorChoices(const GgufFile& file, ModelSpec& spec);

// Every tensor that the network reads is there in the right shape and a known format (NOT_FOUND,
// INVALID_ARGUMENT, UNIMPLEMENTED), and there is none that it would silently leave out
// (UNIMPLEMENTED: the file describes another network, say one with biases).
absl::Status CheckTensors(const GgufFile& file, const Architecture& architecture,
                          const ModelSpec& spec);

// The number that an optional factor's tensor holds. INVALID_ARGUMENT if it is none to multiply by.
absl::StatusOr<double> FactorOf(const GgufTensor& tensor);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_MODEL_TENSORS_H_
