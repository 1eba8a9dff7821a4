#ifndef CHOIR_ENGINE_MODEL_ARCHITECTURES_H_
#define CHOIR_ENGINE_MODEL_ARCHITECTURES_H_

// Every architecture of the table, each defined in its own file.

#include "engine/model/architecture.h"

namespace choir::engine {

extern const Architecture kBitnetArchitecture;
extern const Architecture kBitnet158Architecture;
extern const Architecture kGemma3Architecture;
extern const Architecture kLlamaArchitecture;
extern const Architecture kQwen2Architecture;
extern const Architecture kQwen3Architecture;

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_ARCHITECTURES_H_
