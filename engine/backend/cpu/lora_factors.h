#ifndef CHOIR_ENGINE_BACKEND_CPU_LORA_FACTORS_H_
#define CHOIR_ENGINE_BACKEND_CPU_LORA_FACTORS_H_

#include <optional>

#include "engine/backend/cpu/cpu_kernel.h"

namespace choir::engine {

// The bypass of linear and linear_backward: y += scale B A x.
struct LoraFactors {
  CpuInput a;  // (R, C)
  CpuInput b;  // (N, R)
  float scale = 0;

  static std::optional<LoraFactors> Of(const CpuCall& call) {
    if (call.attrs.IntOr("lora", 0) == 0) return std::nullopt;
    return LoraFactors{call.inputs[2], call.inputs[3],
                       static_cast<float>(call.attrs.Float("lora_scale"))};
  }
  [[nodiscard]] int64_t rank() const { return a.rows(); }
};

// Of the dropout's key among the call's inputs, after the factors.
inline constexpr size_t kDropoutKeyInput = 4;

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_LORA_FACTORS_H_
