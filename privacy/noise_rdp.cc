#include "privacy/noise_rdp.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace choir::privacy {

double DiscreteGaussianGap(uint32_t nodes, double local) {
  double sum = 0;
  for (double k = 1; k < nodes; ++k) {
    const double share = k / (k + 1);
    sum += std::exp(-2 * std::numbers::pi * std::numbers::pi * local * local * share);
  }
  return 10 * sum;
}

RdpCurve DiscreteGaussianSumRdp(const NoisedSum& sum, uint32_t nodes, double local) {
  const double gap = DiscreteGaussianGap(nodes, local);
  const auto dimension = static_cast<double>(sum.dimension);
  const double l2 = sum.l2 / sum.deviation;
  const double l1 = sum.l1 / sum.deviation;
  const double wide = l2 + std::sqrt(dimension) * gap;
  return RdpCurve::Of([=](double a) {
    return std::min({a / 2 * l2 * l2 + gap * dimension,
                     a / 2 * (l2 * l2 + 2 * l1 * gap + gap * gap * dimension),
                     a / 2 * wide * wide});
  });
}

RdpCurve SkellamRdp(const NoisedSum& sum) {
  const double variance = sum.deviation * sum.deviation;
  return RdpCurve::Of([&](double a) {
    const double quadratic =
        ((2 * a - 1) * sum.l2 * sum.l2 + 6 * sum.l1) / (4 * variance * variance);
    const double linear = 3 * sum.l1 / (2 * variance);
    return a * sum.l2 * sum.l2 / (2 * variance) + std::min(quadratic, linear);
  });
}

}  // namespace choir::privacy
