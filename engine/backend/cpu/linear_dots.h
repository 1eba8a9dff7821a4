#ifndef CHOIR_ENGINE_BACKEND_CPU_LINEAR_DOTS_H_
#define CHOIR_ENGINE_BACKEND_CPU_LINEAR_DOTS_H_

// linear for one or a few tokens, as dot products with the rows of W: reading W is what takes the
// time, and a call of a matrix product costs more than its arithmetic.

#include "absl/status/statusor.h"

#include "engine/backend/cpu/cpu_kernel.h"

namespace choir::engine {

// Is this linear node faster so?
bool WantsDots(const CpuCall& call);

absl::StatusOr<CpuProgram> PrepareDotLinear(const CpuCall& call, CpuCompiler& compiler);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_LINEAR_DOTS_H_
