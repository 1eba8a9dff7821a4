#include "privacy/accountant.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"

namespace choir::privacy {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();
// Terms below e^-40 of a sum that is at least 1 change no digit of a double.
constexpr double kNegligible = -40;
constexpr int kMaxTerms = 100'000;

std::vector<double> MakeOrders() {
  std::vector<double> orders;
  for (int tenths = 11; tenths < 110; ++tenths) orders.push_back(tenths / 10.0);
  for (int order = 11; order <= 63; ++order) orders.push_back(order);
  for (const double order : {128.0, 256.0, 512.0, 1024.0}) orders.push_back(order);
  return orders;
}

double LogAdd(double a, double b) {
  if (a < b) std::swap(a, b);
  return b == -kInfinity ? a : a + std::log1p(std::exp(b - a));
}

// ln(e^a - e^b); -infinity unless a > b.
double LogSubtract(double a, double b) {
  if (b == -kInfinity) return a;
  return a > b ? a + std::log1p(-std::exp(b - a)) : -kInfinity;
}

// ln erfc(x), also where erfc underflows (Abramowitz and Stegun 7.1.23).
double LogErfc(double x) {
  if (x < 20) return std::log(std::erfc(x));
  const double r = 1 / (x * x);
  const double series = 1 - 0.5 * r * (1 - 1.5 * r * (1 - 2.5 * r));
  return -x * x - std::log(x) - 0.5 * std::log(std::numbers::pi) + std::log(series);
}

struct Binomial {
  double log_magnitude = 0;
  bool negative = false;
};

// C(alpha, i) of a real alpha: its sign alternates from i = alpha + 1 on.
Binomial BinomialOf(double alpha, double i) {
  const double rest = alpha - i + 1;
  const bool negative = rest < 0 && std::fmod(std::ceil(-rest), 2.0) != 0;
  return {std::lgamma(alpha + 1) - std::lgamma(i + 1) - std::lgamma(rest), negative};
}

// ln A(alpha) of Mironov, Talwar, Zhang 2019, equation 5: alpha is whole.
double LogMomentWhole(double sigma, double q, double alpha) {
  double sum = -kInfinity;
  for (double i = 0; i <= alpha; ++i) {
    sum = LogAdd(sum, BinomialOf(alpha, i).log_magnitude + i * std::log(q) +
                          (alpha - i) * std::log1p(-q) + (i * i - i) / (2 * sigma * sigma));
  }
  return sum;
}

// The same for any alpha, section 3.3: positive and negative terms are added up apart.
double LogMomentReal(double sigma, double q, double alpha) {
  const double z0 = sigma * sigma * std::log(1 / q - 1) + 0.5;
  double positive = -kInfinity;
  double negative = -kInfinity;
  const double root = std::numbers::sqrt2 * sigma;
  for (int n = 0; n < kMaxTerms; ++n) {
    const double i = n;
    const double j = alpha - i;
    const Binomial c = BinomialOf(alpha, i);
    const double below = c.log_magnitude + i * std::log(q) + j * std::log1p(-q) +
                         (i * i - i) / (2 * sigma * sigma) + std::log(0.5) +
                         LogErfc((i - z0) / root);
    const double above = c.log_magnitude + j * std::log(q) + i * std::log1p(-q) +
                         (j * j - j) / (2 * sigma * sigma) + std::log(0.5) +
                         LogErfc((z0 - j) / root);
    double& sum = c.negative ? negative : positive;
    sum = LogAdd(sum, LogAdd(below, above));
    if (i > alpha && std::max(below, above) < kNegligible) return LogSubtract(positive, negative);
  }
  return kInfinity;
}

double SampledAt(double sigma, double q, double order) {
  const bool whole = order == std::floor(order);
  const double moment = whole ? LogMomentWhole(sigma, q, order) : LogMomentReal(sigma, q, order);
  // The moment is above 1: where rounding says otherwise, this order says nothing.
  return std::isfinite(moment) && moment >= 0 ? moment / (order - 1) : kInfinity;
}

std::pair<double, double> BestBound(const RdpCurve& curve, double delta) {
  CHOIR_CHECK(delta > 0 && delta < 1);
  std::pair<double, double> best(kInfinity, 0);
  for (size_t i = 0; i < Orders().size(); ++i) {
    const double a = Orders()[i];
    const double epsilon = curve.values()[i] + std::log1p(-1 / a) - std::log(delta * a) / (a - 1);
    if (epsilon < best.first) best = {epsilon, a};
  }
  return best;
}

}  // namespace

std::span<const double> Orders() {
  static const std::vector<double> orders = MakeOrders();
  return orders;
}

RdpCurve::RdpCurve() : values_(Orders().size(), 0.0) {}

RdpCurve& RdpCurve::operator+=(const RdpCurve& other) {
  for (size_t i = 0; i < values_.size(); ++i) values_[i] += other.values_[i];
  return *this;
}

RdpCurve RdpCurve::Times(double times) const {
  CHOIR_CHECK(times >= 0);
  RdpCurve out;
  if (times == 0) return out;
  for (size_t i = 0; i < values_.size(); ++i) out.values_[i] = values_[i] * times;
  return out;
}

bool RdpCurve::IsZero() const {
  return std::ranges::all_of(values_, [](double value) { return value == 0; });
}

double EpsilonOf(const RdpCurve& curve, double delta) {
  return curve.IsZero() ? 0 : std::max(0.0, BestBound(curve, delta).first);
}

double BestOrder(const RdpCurve& curve, double delta) {
  return BestBound(curve, delta).second;
}

RdpCurve GaussianRdp(double noise_multiplier) {
  CHOIR_CHECK(noise_multiplier > 0);
  return RdpCurve::Of(
      [=](double order) { return order / (2 * noise_multiplier * noise_multiplier); });
}

RdpCurve SampledGaussianRdp(double noise_multiplier, double rate) {
  CHOIR_CHECK(noise_multiplier > 0 && rate > 0 && rate <= 1);
  if (rate == 1) return GaussianRdp(noise_multiplier);
  return RdpCurve::Of([=](double order) { return SampledAt(noise_multiplier, rate, order); });
}

absl::StatusOr<double> NoiseMultiplierFor(double epsilon, double delta, uint64_t rounds) {
  constexpr double kMost = 1e4;
  constexpr double kDigits = 1e4;
  const auto fits = [&](double z) {
    return EpsilonOf(GaussianRdp(z).Times(static_cast<double>(rounds)), delta) <= epsilon;
  };
  if (!(epsilon > 0) || !fits(kMost)) {
    return absl::OutOfRangeError(
        fmt::format("no noise multiplier up to {} keeps {} rounds within epsilon {} at delta {}",
                    kMost, rounds, epsilon, delta));
  }
  double low = 0.01;
  double high = kMost;
  while (high - low > 0.01 / kDigits) {
    const double middle = (low + high) / 2;
    (fits(middle) ? high : low) = middle;
  }
  return std::ceil(high * kDigits) / kDigits;
}

}  // namespace choir::privacy
