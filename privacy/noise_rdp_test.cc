#include "privacy/noise_rdp.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

namespace choir::privacy {
namespace {

// Whole orders as the published implementation uses them: 2 to 128, and 256.
double EpsilonAtWholeOrders(const RdpCurve& curve, double delta) {
  return EpsilonOf(RdpCurve::Of([&](double order) {
                     const auto at = std::ranges::find(Orders(), order) - Orders().begin();
                     const bool whole = order == std::floor(order) && order >= 2 && order <= 256;
                     return whole ? curve.values()[static_cast<size_t>(at)] : HUGE_VAL;
                   }),
                   delta);
}

// In grid steps: sensitivity 1 on a grid of `scale`.
RdpCurve SkellamOnGrid(double scale, double deviation, uint64_t dimension) {
  return SkellamRdp(
      {scale, scale * std::sqrt(static_cast<double>(dimension)), scale * deviation, dimension});
}

TEST(SkellamRdpTest, ReferenceValues) {
  EXPECT_NEAR(EpsilonAtWholeOrders(SkellamOnGrid(1000, 5, 10000).Times(10), 1e-5), 2.8141092302,
              1e-9);
  EXPECT_NEAR(EpsilonAtWholeOrders(SkellamOnGrid(100, 5, 10000).Times(10), 1e-5), 2.8141175678,
              1e-9);
  EXPECT_NEAR(EpsilonAtWholeOrders(SkellamOnGrid(1000, 1, 1000000), 1e-6), 5.2224329105, 1e-9);
}

TEST(DiscreteGaussianSumTest, GapReferenceValues) {
  EXPECT_NEAR(DiscreteGaussianGap(100, 1), 5.4779e-4, 1e-8);
  EXPECT_NEAR(DiscreteGaussianGap(1000, 2), 7.16e-17, 1e-19);
}

TEST(DiscreteGaussianSumTest, OfFineNoiseIsTheGaussian) {
  const NoisedSum sum{1000, 1000 * 100, 1500, 10000};
  const RdpCurve exact = GaussianRdp(1.5);
  const RdpCurve found = DiscreteGaussianSumRdp(sum, 100, 150);
  for (size_t i = 0; i < Orders().size(); ++i) {
    EXPECT_DOUBLE_EQ(found.values()[i], exact.values()[i]);
  }
}

// Noise of one grid step and ten million values: the gap costs more than everything else.
TEST(DiscreteGaussianSumTest, OfCoarseNoiseIsRuinous) {
  const NoisedSum sum{10, 100, 10, 10'000'000};
  EXPECT_GT(EpsilonOf(DiscreteGaussianSumRdp(sum, 100, 1), 1e-5),
            2 * EpsilonOf(GaussianRdp(1), 1e-5));
}

}  // namespace
}  // namespace choir::privacy
