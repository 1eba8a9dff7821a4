#ifndef CHOIR_SECURE_AGG_CORE_ADAPTER_CHECK_H_
#define CHOIR_SECURE_AGG_CORE_ADAPTER_CHECK_H_

#include <span>

#include "absl/status/status.h"

namespace choir::secagg {

// One module's factors of a LoRA adapter.
struct LoraFactors {
  std::span<const float> a;
  std::span<const float> b;
};

// OK if every value is finite and no module has A = B = 0: then its gradients vanish on every node,
// and a coordinator that gave only one node another adapter would read that node's update off the
// sum (Pasquini, Francati, Ateniese, CCS 2022). B = 0 alone is how training starts, and fine.
// kNonFiniteAdapter, kZeroAdapter; the message names the module by its index.
absl::Status CheckAdapter(std::span<const LoraFactors> modules);

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_ADAPTER_CHECK_H_
