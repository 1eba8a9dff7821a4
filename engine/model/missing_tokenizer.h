#ifndef CHOIR_ENGINE_MODEL_MISSING_TOKENIZER_H_
#define CHOIR_ENGINE_MODEL_MISSING_TOKENIZER_H_

#include <memory>

#include "absl/status/status.h"

#include "engine/tokenizer/tokenizer.h"

namespace choir::engine {

// Stands in for a tokenizer that a file lacks or that this build does not know, so that the network
// can be run on token ids: whatever needs text gives `reason` (an error).
std::unique_ptr<Tokenizer> MakeMissingTokenizer(absl::Status reason, int32_t vocabulary_size);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_MISSING_TOKENIZER_H_
