#ifndef CHOIR_ENGINE_LORA_SKETCH_H_
#define CHOIR_ENGINE_LORA_SKETCH_H_

// The mean of products B A from two sums, without ever forming a product (FedASK, arXiv 2507.09990,
// in delta form; the method is that of randomised SVD, Halko et al. 2011). With a random Omega
// (cols, s) that all know, s a little above the rank:
//   left   Y = B (A Omega)     (rows, s)    the mean of nodes' Y spans what their mean product
//   spans basis  Q, Y = Q R          (rows, s)    orthonormal columns right  P = (Q^T B) A (s,
//   cols)    the mean of nodes' P is Q^T times the mean product
// and Q P is the mean product, exactly if its rank is at most s, else its best approximation but
// for what the sketch missed. Nodes send differences to what they started from.

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/lora/adapter.h"

namespace choir::engine {

// Columns of the sketch beyond the rank: Halko et al. advise 5 to 10, the toy of FedASK 4 gains
// nearly all.
inline constexpr int64_t kSketchOversampling = 4;

// s: rank + kSketchOversampling, at most rows and columns.
int64_t SketchWidth(const LoraPair& pair);

uint64_t LeftSketchLength(const Adapter& adapter);
uint64_t RightSketchLength(const Adapter& adapter);

// B (A Omega) of each pair, row-major, one after the other; Omega's elements are 1 or -1, from
// `seed` and the pair's place.
std::vector<float> LeftSketch(const Adapter& adapter, uint64_t seed);
// (Q^T B) A of each pair. `basis` fits (CheckSketchBasis).
std::vector<float> RightSketch(const Adapter& adapter, const Adapter& basis);

// What a node sends: the sketch of what it trained, less that of what it started from.
std::vector<float> LeftSketchDelta(const Adapter& trained, const Adapter& start, uint64_t seed);
std::vector<float> RightSketchDelta(const Adapter& trained, const Adapter& start,
                                    const Adapter& basis);

// The basis is an adapter of rank s whose B is Q; its A is zero and means nothing. INVALID_ARGUMENT
// names the pair: another shape, or columns that are not orthonormal (within 1e-3).
absl::Status CheckSketchBasis(const Adapter& basis, const Adapter& adapter);

// Q of a left sketch of adapters of this shape. INVALID_ARGUMENT if the count differs.
absl::StatusOr<Adapter> SketchBasis(const Adapter& shape, std::span<const float> left);
// The adapter of this shape that is nearest to Q P: P = U S V^T, B = Q U S^1/2, A = S^1/2 V^T, both
// cut to the rank. INVALID_ARGUMENT if the count differs.
absl::StatusOr<Adapter> AdapterFromSketch(const Adapter& shape, const Adapter& basis,
                                          std::span<const float> right);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_SKETCH_H_
