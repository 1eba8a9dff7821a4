#include "secure-agg/core/graph_parameters.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <vector>

namespace choir::secagg {
namespace {

constexpr double kSecurityBits = 40;     // sigma
constexpr double kCorrectnessBits = 20;  // eta

// ln k! for k up to n, summed rather than asked of lgamma(): the same on every machine but for the
// last bits of log(), where no condition is ever decided.
class LogFactorials {
 public:
  explicit LogFactorials(uint32_t n) : values_(size_t{n} + 1) {
    for (uint32_t k = 2; k <= n; ++k)
      values_[k] = values_[k - 1] + std::log(static_cast<double>(k));
  }
  [[nodiscard]] double Of(uint32_t k) const { return values_[k]; }
  [[nodiscard]] double Choose(uint32_t n, uint32_t k) const {
    return values_[n] - values_[k] - values_[n - k];
  }

 private:
  std::vector<double> values_;
};

// How many of `draws` nodes out of `size` are among `marked` ones.
class Hypergeometric {
 public:
  Hypergeometric(const LogFactorials& logs, uint32_t size, uint32_t marked, uint32_t draws)
      : logs_(logs), size_(size), marked_(marked), draws_(draws) {}
  [[nodiscard]] uint32_t Lowest() const {
    return draws_ + marked_ > size_ ? draws_ + marked_ - size_ : 0;
  }
  [[nodiscard]] uint32_t Highest() const { return std::min(draws_, marked_); }
  [[nodiscard]] double At(uint32_t x) const {
    return std::exp(logs_.Choose(marked_, x) + logs_.Choose(size_ - marked_, draws_ - x) -
                    logs_.Choose(size_, draws_));
  }
  // The smallest x with Pr[X > x] <= p.
  [[nodiscard]] uint32_t UpperBound(double p) const {
    double tail = 0;
    for (uint32_t x = Highest(); x > Lowest(); --x) {
      tail += At(x);
      if (tail > p) return x;
    }
    return Lowest();
  }
  // The largest x with Pr[X < x] <= p.
  [[nodiscard]] uint32_t LowerBound(double p) const {
    double head = 0;
    for (uint32_t x = Lowest(); x < Highest(); ++x) {
      head += At(x);
      if (head > p) return x;
    }
    return Highest();
  }

 private:
  const LogFactorials& logs_;
  uint32_t size_;
  uint32_t marked_;
  uint32_t draws_;
};

// Corrupt and silent nodes cannot take all k neighbours of an arc of honest ones.
bool StaysConnected(const LogFactorials& logs, uint32_t size, uint32_t degree, uint32_t lost) {
  if (degree > lost) return true;
  const double arcs =
      std::log(static_cast<double>(size) * static_cast<double>(size - degree - 1) / 2);
  const double chance =
      arcs + logs.Of(lost) + logs.Of(size - degree) - logs.Of(size) - logs.Of(lost - degree);
  return chance < -(kSecurityBits + 1) * std::numbers::ln2;
}

}  // namespace

bool IsBearable(uint32_t corrupt_percent, uint32_t dropout_percent, CoordinatorModel coordinator) {
  if (corrupt_percent > 90 || dropout_percent > 90) return false;
  const uint32_t lies = coordinator == CoordinatorModel::kLying ? 2 : 1;
  return corrupt_percent + lies * dropout_percent <= 90;
}

std::optional<GraphParameters> FindGraphParameters(const GraphDemand& demand) {
  if (demand.size < 4 ||
      !IsBearable(demand.corrupt_percent, demand.dropout_percent, demand.coordinator)) {
    return std::nullopt;
  }
  const uint32_t n = demand.size;
  const auto part = [n](uint32_t percent) {
    return static_cast<uint32_t>(uint64_t{n} * percent / 100);
  };
  const uint32_t corrupt = part(demand.corrupt_percent);
  const uint32_t silent = part(demand.dropout_percent);
  const LogFactorials logs(n);
  const double leak = std::exp2(-(kSecurityBits + 1)) / n;
  const double failure = std::exp2(-kCorrectnessBits) / n;
  for (uint32_t k = std::max(2u, demand.min_degree + demand.min_degree % 2); k + 1 < n; k += 2) {
    if (!StaysConnected(logs, n, k, corrupt + silent)) continue;
    uint32_t unsafe = Hypergeometric(logs, n, corrupt, k).UpperBound(leak);
    const uint32_t present = Hypergeometric(logs, n, n - silent, k).LowerBound(failure);
    // ceil((unsafe + k - 1.25) / 2): more shares than two disjoint sets of holders can both have.
    if (demand.coordinator == CoordinatorModel::kLying) unsafe = (4 * (unsafe + k) + 2) / 8;
    // The reference's own floor of 2 asks nothing of `present`; a higher one does.
    if (present <= unsafe || (demand.min_threshold > 2 && present < demand.min_threshold)) continue;
    return GraphParameters{k, std::max({unsafe + 1, 2u, demand.min_threshold})};
  }
  return std::nullopt;
}

}  // namespace choir::secagg
