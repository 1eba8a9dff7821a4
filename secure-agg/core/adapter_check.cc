#include "secure-agg/core/adapter_check.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "secure-agg/core/abort_reason.h"

namespace choir::secagg {
namespace {

bool AllFinite(std::span<const float> values) {
  return std::ranges::all_of(values, [](float v) { return std::isfinite(v); });
}

bool AllZero(std::span<const float> values) {
  return std::ranges::all_of(values, [](float v) { return v == 0.0F; });
}

}  // namespace

absl::Status CheckAdapter(std::span<const LoraFactors> modules) {
  for (size_t i = 0; i < modules.size(); ++i) {
    if (!AllFinite(modules[i].a) || !AllFinite(modules[i].b)) {
      return Refusal(AbortReason::kNonFiniteAdapter,
                     fmt::format("module {} of {} holds NaN or infinity", i, modules.size()));
    }
    if (AllZero(modules[i].a) && AllZero(modules[i].b)) {
      return Refusal(AbortReason::kZeroAdapter,
                     fmt::format("module {} of {} has A = 0 and B = 0", i, modules.size()));
    }
  }
  return absl::OkStatus();
}

}  // namespace choir::secagg
