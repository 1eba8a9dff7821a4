#ifndef CHOIR_ENGINE_OPS_SCHEMAS_H_
#define CHOIR_ENGINE_OPS_SCHEMAS_H_

// One constant for each line of ops.def, defined in the op's own file: an op without its file fails
// the link.

#include "engine/ops/ops.h"

namespace choir::engine {

#define CHOIR_OP(Name) extern const OpSchema k##Name##Schema;
#include "engine/ops/ops.def"
#undef CHOIR_OP

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_OPS_SCHEMAS_H_
