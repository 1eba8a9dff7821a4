#ifndef CHOIR_SECURE_AGG_CORE_SHAMIR_H_
#define CHOIR_SECURE_AGG_CORE_SHAMIR_H_

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"

#include "base/secret.h"

// Shamir's secret sharing over the scalar field of ristretto255 (order l = 2^252 + 2774...8493),
// with libsodium's constant-time scalar arithmetic.
namespace choir::secagg {

// A uniform scalar: 64 uniform bytes mod l.
SecretBytes<32> ScalarFromBytes(const SecretBytes<64>& bytes);

// Below l, so that a scalar has one spelling.
bool IsCanonicalScalar(std::span<const uint8_t, 32> bytes);

// Shares 1 to `count` of `secret`: values of a polynomial of degree threshold - 1 whose other
// coefficients come from `seed`. Needs 1 <= threshold <= count; a seed splits one secret only.
std::vector<SecretBytes<32>> SplitSecret(const SecretBytes<32>& secret, uint32_t threshold,
                                         uint32_t count, const SecretBytes<32>& seed);

// Lagrange interpolation at 0 for one set of share numbers, which are then used for many secrets.
class Interpolator {
 public:
  // `numbers`: distinct, not 0. INVALID_ARGUMENT otherwise.
  static absl::StatusOr<Interpolator> Create(std::span<const uint32_t> numbers);
  // `shares` in the order of the numbers. With fewer than the threshold, or a wrong one, the result
  // is a scalar that has nothing to do with the secret.
  [[nodiscard]] SecretBytes<32> Combine(std::span<const SecretBytes<32>* const> shares) const;

 private:
  explicit Interpolator(std::vector<SecretBytes<32>> weights) : weights_(std::move(weights)) {}
  std::vector<SecretBytes<32>> weights_;
};

}  // namespace choir::secagg

#endif  // CHOIR_SECURE_AGG_CORE_SHAMIR_H_
