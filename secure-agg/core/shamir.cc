#include "secure-agg/core/shamir.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>
#include <sodium.h>

#include "base/check.h"

namespace choir::secagg {
namespace {

SecretBytes<32> SmallScalar(uint32_t value) {
  SecretBytes<32> scalar;
  for (size_t i = 0; i < 4; ++i) {
    scalar.ExposeMutable()[i] = static_cast<uint8_t>(value >> (8 * i));
  }
  return scalar;
}

void MultiplyInto(SecretBytes<32>& x, const SecretBytes<32>& y) {
  SecretBytes<32> out;
  crypto_core_ristretto255_scalar_mul(out.ExposeMutable().data(), x.Expose().data(),
                                      y.Expose().data());
  x = std::move(out);
}

void AddInto(SecretBytes<32>& x, const SecretBytes<32>& y) {
  SecretBytes<32> out;
  crypto_core_ristretto255_scalar_add(out.ExposeMutable().data(), x.Expose().data(),
                                      y.Expose().data());
  x = std::move(out);
}

// a - b.
SecretBytes<32> Difference(uint32_t a, uint32_t b) {
  SecretBytes<32> out = SmallScalar(a > b ? a - b : b - a);
  if (a > b) return out;
  SecretBytes<32> negative;
  crypto_core_ristretto255_scalar_negate(negative.ExposeMutable().data(), out.Expose().data());
  return negative;
}

// threshold - 1 uniform scalars from the key stream of ChaCha20 (RFC 8439) under `seed`.
std::vector<SecretBytes<32>> Coefficients(uint32_t count, const SecretBytes<32>& seed) {
  std::vector<SecretBytes<32>> coefficients;
  coefficients.reserve(count);
  std::vector<uint8_t> stream(size_t{64} * count);
  constexpr uint8_t kNonce[crypto_stream_chacha20_ietf_NONCEBYTES] = {};
  crypto_stream_chacha20_ietf(stream.data(), stream.size(), kNonce, seed.Expose().data());
  for (size_t i = 0; i < count; ++i) {
    coefficients.push_back(ScalarFromBytes(
        SecretBytes<64>(std::span<const uint8_t>(stream).subspan(64 * i).first<64>())));
  }
  WipeBytes(stream);
  return coefficients;
}

}  // namespace

SecretBytes<32> ScalarFromBytes(const SecretBytes<64>& bytes) {
  SecretBytes<32> scalar;
  crypto_core_ristretto255_scalar_reduce(scalar.ExposeMutable().data(), bytes.Expose().data());
  return scalar;
}

bool IsCanonicalScalar(std::span<const uint8_t, 32> bytes) {
  SecretBytes<64> wide;
  for (size_t i = 0; i < 32; ++i) wide.ExposeMutable()[i] = bytes[i];
  return EqualConstantTime(ScalarFromBytes(wide).Expose(), bytes);
}

std::vector<SecretBytes<32>> SplitSecret(const SecretBytes<32>& secret, uint32_t threshold,
                                         uint32_t count, const SecretBytes<32>& seed) {
  CHOIR_CHECK(threshold >= 1 && threshold <= count);
  const std::vector<SecretBytes<32>> coefficients = Coefficients(threshold - 1, seed);
  std::vector<SecretBytes<32>> shares;
  shares.reserve(count);
  for (uint32_t number = 1; number <= count; ++number) {
    const SecretBytes<32> x = SmallScalar(number);
    SecretBytes<32> value;  // Horner, from the highest coefficient down
    for (size_t i = coefficients.size(); i > 0; --i) {
      AddInto(value, coefficients[i - 1]);
      MultiplyInto(value, x);
    }
    AddInto(value, secret);
    shares.push_back(std::move(value));
  }
  return shares;
}

// w_i = prod_j j / (i prod_{j != i} (j - i)). All denominators are inverted by one inversion of
// their product (Montgomery's trick). Share numbers are public: nothing here need be constant in
// time.
absl::StatusOr<Interpolator> Interpolator::Create(std::span<const uint32_t> numbers) {
  std::vector<SecretBytes<32>> denominators;
  std::vector<SecretBytes<32>> products;  // of the denominators before each
  denominators.reserve(numbers.size());
  products.reserve(numbers.size());
  SecretBytes<32> product = SmallScalar(1);
  SecretBytes<32> numerator = SmallScalar(1);
  for (const uint32_t i : numbers) {
    if (i == 0 || std::ranges::count(numbers, i) != 1) {
      return absl::InvalidArgumentError(
          fmt::format("share number {} is zero or repeated among {} shares", i, numbers.size()));
    }
    SecretBytes<32> denominator = SmallScalar(i);
    for (const uint32_t j : numbers) {
      if (j != i) MultiplyInto(denominator, Difference(j, i));
    }
    products.push_back(product.Clone());
    MultiplyInto(product, denominator);
    MultiplyInto(numerator, SmallScalar(i));
    denominators.push_back(std::move(denominator));
  }
  SecretBytes<32> inverse;
  CHOIR_CHECK(crypto_core_ristretto255_scalar_invert(inverse.ExposeMutable().data(),
                                                     product.Expose().data()) == 0);
  std::vector<SecretBytes<32>> weights(numbers.size());
  for (size_t i = numbers.size(); i > 0; --i) {
    weights[i - 1] = inverse.Clone();
    MultiplyInto(weights[i - 1], products[i - 1]);
    MultiplyInto(weights[i - 1], numerator);
    MultiplyInto(inverse, denominators[i - 1]);
  }
  return Interpolator(std::move(weights));
}

SecretBytes<32> Interpolator::Combine(std::span<const SecretBytes<32>* const> shares) const {
  CHOIR_CHECK(shares.size() == weights_.size());
  SecretBytes<32> secret;
  for (size_t i = 0; i < shares.size(); ++i) {
    SecretBytes<32> term = shares[i]->Clone();
    MultiplyInto(term, weights_[i]);
    AddInto(secret, term);
  }
  return secret;
}

}  // namespace choir::secagg
