#ifndef CHOIR_ENGINE_LORA_LATENT_H_
#define CHOIR_ENGINE_LORA_LATENT_H_

// The latent form of an adapter (Fed-SB, arXiv 2502.15436): between two common and fixed factors,
// B0 (rows, r) with orthonormal columns and A0 (r, cols), lies a small core R (r, r), and only R is
// trained and sent: W' = W + scale * B0 R A0. Outside of training it is an ordinary adapter, with
// B = B0 R and A = A0; the basis is a second adapter of the same shape, with B0 and A0.

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/lora/adapter.h"

namespace choir::engine {

// Elements of all cores: the sum of rank^2.
uint64_t CoreLength(const Adapter& adapter);

// A basis is worth nothing if its columns are not orthonormal (within 1e-3), and a node must not
// train on one that hides some directions: checked before use. INVALID_ARGUMENT names the pair:
// another shape than the adapter's, another A, fewer rows than the rank, columns that are not.
absl::Status CheckBasis(const Adapter& basis, const Adapter& adapter);

// R = B0^T B of each pair, one after the other, row-major; of an adapter B = B0 R exactly that R.
std::vector<float> CoreOf(const Adapter& adapter, const Adapter& basis);
// B = B0 R of each pair; A stays. INVALID_ARGUMENT if the count differs.
absl::Status SetCore(Adapter& adapter, const Adapter& basis, std::span<const float> core);

struct LatentStart {
  Adapter adapter;  // the same product B A: B = U S, A = V^T
  Adapter basis;    // B0 = U, A0 = V^T
};
// The singular value decomposition B A = U S V^T of each pair, by QR of both factors: never forms
// the product. INVALID_ARGUMENT for a pair with fewer rows or columns than its rank, or values that
// are not finite.
absl::StatusOr<LatentStart> MakeLatent(const Adapter& adapter);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_LATENT_H_
