#ifndef CHOIR_ENGINE_BACKEND_CONFORMANCE_H_
#define CHOIR_ENGINE_BACKEND_CONFORMANCE_H_

// The one test that every backend passes: each op, each of its example cases, against the op's
// reference in double precision; and the gradient of each op that has one, computed on the backend,
// against central finite differences of the reference. It runs over the op table, so a new op is
// tested without touching any test. Failures are GoogleTest failures that name op and case.

#include "engine/backend/backend.h"

namespace choir::engine {

struct ConformanceOptions {
  CompileOptions compile = {.compute = Compute::kF32};
  // Largest difference from the reference, as a share of the tensor's largest magnitude (rounding
  // of a dot product scales with what was summed, not with what is left of it). f32: rope at
  // position 500 loses 500 * 2^-24 = 3e-5 of a turn in the angle; sums of a thousand products lose
  // about as much. bf16 products (2^-9 each) need about 2e-2.
  double tolerance = 1e-4;
  // Not null: only cases with a weight in this format.
  const WeightFormat* only_format = nullptr;
};

void RunOpConformance(Backend& backend, const ConformanceOptions& options);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CONFORMANCE_H_
