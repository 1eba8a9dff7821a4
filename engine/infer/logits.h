#ifndef CHOIR_ENGINE_INFER_LOGITS_H_
#define CHOIR_ENGINE_INFER_LOGITS_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/model/device_model.h"
#include "engine/model/model.h"

namespace choir::engine {

// Logits after each of `ids`, row-major (T,V): for people who verify engines. Holds all of them in
// memory, so it is no way to evaluate or to generate. `adapter` may be null. INVALID_ARGUMENT for
// no ids, or one outside the vocabulary.
absl::StatusOr<std::vector<float>> ComputeLogits(const Model& model, Backend& backend,
                                                 const DeviceModel& weights,
                                                 const DeviceAdapter* adapter,
                                                 std::span<const int32_t> ids, Compute compute);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_INFER_LOGITS_H_
