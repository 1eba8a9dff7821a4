#ifndef CHOIR_ENGINE_MODEL_ARCHITECTURES_H_
#define CHOIR_ENGINE_MODEL_ARCHITECTURES_H_

// Every architecture of the table, each defined in its own file.

#include "engine/model/architecture.h"

namespace choir::engine {

#define CHOIR_ARCHITECTURE(Name, file) extern const Architecture k##Name##Architecture;
#include "engine/model/architectures.def"
#undef CHOIR_ARCHITECTURE

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_ARCHITECTURES_H_
