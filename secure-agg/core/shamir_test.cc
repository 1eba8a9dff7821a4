#include "secure-agg/core/shamir.h"

#include <algorithm>
#include <array>
#include <vector>

#include <gtest/gtest.h>

#include "base/hex.h"
#include "secure-agg/core/graph.h"

namespace choir::secagg {
namespace {

SecretBytes<32> Small(uint8_t value) {
  return SecretBytes<32>(std::array<uint8_t, 32>{value});
}

// Interpolates from the shares whose numbers are given.
std::string Open(const std::vector<SecretBytes<32>>& shares, const std::vector<uint32_t>& numbers) {
  const Interpolator interpolator = Interpolator::Create(numbers).value();
  std::vector<const SecretBytes<32>*> chosen;
  for (const uint32_t number : numbers) chosen.push_back(&shares[number - 1]);
  return HexEncode(interpolator.Combine(chosen).Expose());
}

// 10 subsets of 3 out of 5, as in the published test of Google's library; every one opens.
TEST(ShamirTest, EveryThresholdSubsetOpensTheSecret) {
  const SecretBytes<32> secret = Small(33);
  const auto shares = SplitSecret(secret, 3, 5, Small(7));
  int subsets = 0;
  for (uint32_t a = 1; a <= 5; ++a) {
    for (uint32_t b = a + 1; b <= 5; ++b) {
      for (uint32_t c = b + 1; c <= 5; ++c) {
        EXPECT_EQ(Open(shares, {c, a, b}), HexEncode(secret.Expose()));
        ++subsets;
      }
    }
  }
  EXPECT_EQ(subsets, 10);
}

TEST(ShamirTest, OneShareLessThanTheThresholdOpensSomethingElse) {
  for (const uint32_t n : {3u, 10u, 20u, 64u, 128u}) {
    const uint32_t t = ShapeOf(SessionConfig(), n).threshold;
    const SecretBytes<32> secret = Small(200);
    const auto shares = SplitSecret(secret, t, n, Small(1));
    std::vector<uint32_t> numbers;
    for (uint32_t i = n; numbers.size() < t; --i) numbers.push_back(i);
    EXPECT_EQ(Open(shares, numbers), HexEncode(secret.Expose())) << n;
    numbers.pop_back();
    EXPECT_NE(Open(shares, numbers), HexEncode(secret.Expose())) << n;
  }
}

TEST(ShamirTest, WrongShareOpensSomethingElse) {
  const SecretBytes<32> secret = Small(200);
  auto shares = SplitSecret(secret, 3, 4, Small(1));
  shares[1].ExposeMutable()[0] ^= 1;
  EXPECT_NE(Open(shares, {1, 2, 3}), HexEncode(secret.Expose()));
  EXPECT_EQ(Open(shares, {1, 3, 4}), HexEncode(secret.Expose()));
}

TEST(ShamirTest, SeedsMakeDifferentPolynomials) {
  const auto first = SplitSecret(Small(5), 3, 4, Small(1));
  const auto second = SplitSecret(Small(5), 3, 4, Small(2));
  for (size_t i = 0; i < first.size(); ++i) {
    EXPECT_FALSE(EqualConstantTime(first[i].Expose(), second[i].Expose()));
  }
}

TEST(ShamirTest, ZeroAndRepeatedNumbersAreRefused) {
  EXPECT_FALSE(Interpolator::Create(std::vector<uint32_t>{1, 0, 2}).ok());
  EXPECT_FALSE(Interpolator::Create(std::vector<uint32_t>{1, 2, 1}).ok());
}

// The order of the group, l = 2^252 + 27742317777372353535851937790883648493 (RFC 9496).
TEST(ShamirTest, OnlyScalarsBelowTheOrderAreCanonical) {
  std::array<uint8_t, 32> order{};
  std::ranges::copy(
      HexDecode("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010").value(),
      order.begin());
  EXPECT_FALSE(IsCanonicalScalar(order));
  order[0] -= 1;
  EXPECT_TRUE(IsCanonicalScalar(order));
}

}  // namespace
}  // namespace choir::secagg
