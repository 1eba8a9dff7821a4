#include "privacy/accountant.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>

// Published values of TensorFlow Privacy, dp_accounting and Opacus, and others that were computed
// apart from this code.
namespace choir::privacy {
namespace {

double At(const RdpCurve& curve, double order) {
  const auto at = std::ranges::find(Orders(), order) - Orders().begin();
  return curve.values()[static_cast<size_t>(at)];
}

struct Case {
  double sigma, rate, steps, delta, epsilon, tolerance;
};

double EpsilonOfCase(const Case& c) {
  return EpsilonOf(SampledGaussianRdp(c.sigma, c.rate).Times(c.steps), c.delta);
}

TEST(AccountantTest, PublishedEpsilons) {
  const Case cases[] = {
      {1.5, 0.04, 2250, 1e-5, 7.32911117143, 1e-9},         // opacus accountants_test
      {1.3, 0.0025, 6000, 1e-5, 0.7242234026109595, 1e-9},  // TFP compute_dp_sgd_privacy, Test0
      {1.0, 0.001, 30000, 1e-7, 1.4154988495444842, 1e-9},  // Test1
      {0.7, 1, 2, 1e-5, 10.8602036, 1e-6},
      {0.35, 1, 2, 1e-5, 26.2880374, 1e-6},
  };
  for (const Case& c : cases) {
    EXPECT_NEAR(EpsilonOfCase(c), c.epsilon, c.tolerance) << c.sigma;
  }
  // TFP's privacy statement: zero-out adjacency halves sigma, or no sampling and 5 epochs.
  EXPECT_NEAR(EpsilonOfCase({1.0, 0.0064, 782, 1e-6, 0, 0}), 1.61639, 1e-4);
  EXPECT_NEAR(EpsilonOfCase({1.0, 1, 5, 1e-6, 0, 0}), 13.37638, 1e-4);
}

// dp_accounting adds up the magnitudes of alternating terms, an upper bound: these are the exact
// values at the orders that it uses.
TEST(AccountantTest, ExactEpsilonsAtFractionalOrders) {
  const Case cases[] = {
      {0.7, 0.01, 120, 1e-5, 3.2391921939, 1e-8},  // published bound 3.2392676
      {0.35, 0.01, 120, 1e-5, 22.5970358, 1e-6},   // published bound 22.6248601
      {1, 0.01, 1000, 1e-5, 2.101365272, 1e-8},   {1, 0.1, 100, 1e-5, 7.899255002, 1e-8},
      {2, 0.2, 100, 1e-6, 6.122819312, 1e-8},     {1.5, 0.05, 1000, 1e-6, 6.667814391, 1e-8},
      {3, 0.05, 1000, 1e-6, 2.708629685, 1e-8},   {1.5, 0.001, 20000, 1e-6, 0.496994350, 1e-8},
      {5, 1, 50, 1e-6, 7.766237903, 1e-8},
  };
  for (const Case& c : cases) {
    EXPECT_NEAR(EpsilonOfCase(c), c.epsilon, c.tolerance) << c.sigma << " " << c.rate;
  }
}

TEST(AccountantTest, PublishedDivergences) {
  const RdpCurve curve = SampledGaussianRdp(2.5, 0.01).Times(50);
  EXPECT_NEAR(At(curve, 5), 2.18075656e-3, 1e-11);
  // By quadrature to 30 digits; dp_accounting prints 6.70579741e-4 and 1.08548710e-3.
  EXPECT_NEAR(At(curve, 1.5), 6.50070897e-4, 1e-12);
  EXPECT_LE(At(curve, 2.5), 1.08548710e-3);
  EXPECT_GE(At(curve, 2.5), 1.0e-3);
  const RdpCurve one = SampledGaussianRdp(1, 0.01);
  EXPECT_NEAR(At(one, 2) * 1, 1.71813422074541e-4, 1e-15);
  EXPECT_NEAR(At(one, 8) * 7, 6.255507353242148e-3, 1e-14);
  EXPECT_NEAR(At(one, 32) * 31, 348.6345540485, 1e-8);
}

TEST(AccountantTest, PublishedCalibrations) {
  // opacus: sigma for epsilon 8 at q = 0.04.
  EXPECT_NEAR(EpsilonOfCase({1.416, 0.04, 2250, 1e-5, 0, 0}), 7.99816, 1e-4);
  EXPECT_NEAR(EpsilonOfCase({1.3562, 0.04, 2000, 1e-5, 0, 0}), 7.99939, 1e-4);
  // dp_accounting: one release at sigma 4.530877117 is 1 at delta 1e-6, on a finer grid of orders.
  EXPECT_NEAR(EpsilonOf(GaussianRdp(4.530877117), 1e-6), 1.0, 2e-3);
  EXPECT_GE(EpsilonOf(GaussianRdp(4.530877117), 1e-6), 1.0);
}

// Pure differential privacy of 1.1 as a curve over the orders 2 to 32: dp_accounting.
TEST(AccountantTest, PublishedConversion) {
  const RdpCurve pure = RdpCurve::Of([](double order) {
    return order >= 2 && order <= 32 && order == std::floor(order) ? 1.1 : HUGE_VAL;
  });
  EXPECT_NEAR(EpsilonOf(pure, 1e-5), 1.32783806176, 1e-11);
  EXPECT_EQ(BestOrder(pure, 1e-5), 32);
}

// delta at epsilon of `steps` Gaussian releases, in closed form: Balle and Wang 2018, theorem 8.
double ExactDelta(double sigma, double steps, double epsilon) {
  const double s = sigma / std::sqrt(steps);
  const auto phi = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  return phi(0.5 / s - epsilon * s) - std::exp(epsilon) * phi(-0.5 / s - epsilon * s);
}

double ExactEpsilon(double sigma, double steps, double delta) {
  double low = 0;
  double high = 200;
  for (int i = 0; i < 200; ++i) {
    const double middle = (low + high) / 2;
    (ExactDelta(sigma, steps, middle) > delta ? low : high) = middle;
  }
  return high;
}

TEST(AccountantTest, NeverBelowTheExactEpsilonOfTheGaussian) {
  // The closed form itself, against published privacy loss distributions.
  EXPECT_NEAR(ExactEpsilon(0.7, 2, 1e-5), 10.1224946, 1e-6);
  EXPECT_NEAR(ExactEpsilon(0.35, 2, 1e-5), 24.7160779, 1e-6);
  EXPECT_NEAR(ExactDelta(std::sqrt(3.0), 3, 1), 0.126936, 1e-5);
  for (const double sigma : {0.5, 1.0, 2.0, 8.0}) {
    for (const double steps : {1.0, 10.0, 1000.0}) {
      const double exact = ExactEpsilon(sigma, steps, 1e-5);
      const double found = EpsilonOf(GaussianRdp(sigma).Times(steps), 1e-5);
      if (exact > 190) continue;
      EXPECT_GE(found, exact) << sigma << " " << steps;
      EXPECT_LE(found, 1.15 * exact + 0.2) << sigma << " " << steps;
    }
  }
}

TEST(AccountantTest, NothingPublishedCostsNothing) {
  EXPECT_EQ(EpsilonOf(RdpCurve(), 1e-5), 0);
  EXPECT_EQ(EpsilonOf(GaussianRdp(1).Times(0), 1e-5), 0);
}

TEST(AccountantTest, CompositionAddsUp) {
  RdpCurve sum;
  for (int i = 0; i < 7; ++i) sum += GaussianRdp(2);
  EXPECT_NEAR(EpsilonOf(sum, 1e-5), EpsilonOf(GaussianRdp(2).Times(7), 1e-5), 1e-12);
  sum += RdpCurve::Of([](double) { return HUGE_VAL; });
  EXPECT_EQ(EpsilonOf(sum, 1e-5), HUGE_VAL);
}

TEST(AccountantTest, CalibrationIsTightAndNeverTooSmall) {
  for (const double epsilon : {0.5, 1.0, 8.0}) {
    for (const uint64_t rounds : {uint64_t{1}, uint64_t{10}, uint64_t{500}}) {
      const auto z = NoiseMultiplierFor(epsilon, 1e-5, rounds);
      ASSERT_TRUE(z.ok()) << z.status();
      const auto times = static_cast<double>(rounds);
      EXPECT_LE(EpsilonOf(GaussianRdp(*z).Times(times), 1e-5), epsilon);
      EXPECT_GE(EpsilonOf(GaussianRdp(*z * 0.999 - 2e-4).Times(times), 1e-5), epsilon * 0.999);
    }
  }
  EXPECT_FALSE(NoiseMultiplierFor(1e-9, 1e-5, 100'000).ok());
  EXPECT_FALSE(NoiseMultiplierFor(-1, 1e-5, 1).ok());
}

}  // namespace
}  // namespace choir::privacy
