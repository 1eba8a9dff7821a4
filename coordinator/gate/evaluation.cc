#include "coordinator/gate/evaluation.h"

#include <fmt/format.h>

namespace choir::coordinator {

absl::Status CheckAgainstParent(double parent_nll, double candidate_nll, double margin) {
  if (candidate_nll <= parent_nll + margin) return absl::OkStatus();  // false for NaN
  return absl::FailedPreconditionError(
      fmt::format("held-out NLL {:.4f} after the merge, {:.4f} before it: worse by more than the "
                  "margin of {:.4g}",
                  candidate_nll, parent_nll, margin));
}

}  // namespace choir::coordinator
