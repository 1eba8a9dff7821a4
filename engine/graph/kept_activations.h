#ifndef CHOIR_ENGINE_GRAPH_KEPT_ACTIVATIONS_H_
#define CHOIR_ENGINE_GRAPH_KEPT_ACTIVATIONS_H_

#include <cstdint>

namespace choir::engine {

// What the forward pass of a block keeps for its backward pass.
enum class KeptActivations : uint8_t {
  kAll,  // every tensor that the backward pass reads
  // Selective recomputation (Korthikanti et al. 2022): what products gave and what leaves the
  // block; ops that are cheap to repeat (OpSchema) run again where the backward pass reads their
  // outputs. The same bits as kAll.
  kProducts,
  // The same, rounded to 16 bits, and to 8 where that is enough: half the memory or less, and
  // gradients that differ by that rounding. The forward pass, and with it the loss, is exact.
  kPackedProducts,
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GRAPH_KEPT_ACTIVATIONS_H_
