#ifndef CHOIR_COORDINATOR_SERVICE_NORM_BOUND_H_
#define CHOIR_COORDINATOR_SERVICE_NORM_BOUND_H_

#include <cstdint>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "secure-agg/core/codec.h"
#include "secure-agg/core/messages.h"

// How long a cohort's sum may be. One node's clipping is its own word; all that the coordinator can
// hold against a liar is the norm of the sum that it spoils.
namespace choir::coordinator {

// The largest L2 norm, in the delta's own units, that the sum of `contributors` honest nodes has.
// Without noise: n times the clip norm, and less than a step for the rounding of each value. With
// it: no node's rounded values are longer than the plan's bound B/n, and a noise N of d independent
// sub-Gaussian words (discrete Gaussians and their sums are) of deviation sigma has
//   |V + N|^2 <= B^2 + 2 B sigma sqrt(2t) + sigma^2 (d + 2 sqrt(dt) + 2t)
// but with a chance below 2 exp(-t) (Hsu, Kakade and Zhang 2012, theorem 2.1, for |N|; the second
// term for <V, N>). t = 64 leaves room for Skellam's heavier tails at the least deviation a node's
// noise may have. INVALID_ARGUMENT for settings that secagg::PlanOf refuses.
absl::StatusOr<double> LargestNorm(const secagg::SessionConfig& session, uint32_t contributors);

// kSumOutOfBound if the sum is longer than that. Under noise `sum` is the noised one.
absl::Status CheckNorm(const secagg::SessionConfig& session, const secagg::CohortSum& sum);

}  // namespace choir::coordinator

#endif  // CHOIR_COORDINATOR_SERVICE_NORM_BOUND_H_
