#include "engine/quant/symmetric_groups.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include "engine/quant/block_codec.h"
#include "engine/quant/half.h"
#include "engine/quant/nibbles.h"

namespace choir::engine {
namespace {

constexpr size_t kElements = 256;
constexpr size_t kGroup = 16;
constexpr size_t kGroups = kElements / kGroup;
using Group = std::span<const float>;

int QuantOf(float x, float inverse, int quants) {
  return RoundTo(x * inverse, -quants, quants - 1);
}

float ErrorOf(Group x, float step, int quants) {
  const float inverse = InverseOrZero(step);
  float error = 0.0f;
  for (const float value : x) {
    const float off = step * static_cast<float>(QuantOf(value, inverse, quants)) - value;
    error += off * off;
  }
  return error;
}

// The least-squares step for the quants that `step` gives.
float Refine(Group x, float step, int quants) {
  const float inverse = InverseOrZero(step);
  double sum_qq = 0;
  double sum_xq = 0;
  for (const float value : x) {
    const double q = QuantOf(value, inverse, quants);
    sum_qq += q * q;
    sum_xq += value * q;
  }
  return sum_qq > 0 ? static_cast<float>(sum_xq / sum_qq) : step;
}

float FindStep(Group x, int quants) {
  const float largest = LargestWithSign(x.data(), x.size());
  // The side of the grid with one value more is for the largest element.
  float best = -largest / static_cast<float>(quants);
  float best_error = ErrorOf(x, best, quants);
  for (int tenths = -12; tenths <= 12; ++tenths) {
    const float steps = static_cast<float>(quants) + 0.1f * static_cast<float>(tenths);
    const float step = Refine(x, -largest / steps, quants);
    const float error = ErrorOf(x, step, quants);
    if (error < best_error) {
      best_error = error;
      best = step;
    }
  }
  return best;
}

// One block's fit with its error.
class Search {
 public:
  Search(const float* x, const SymmetricGrid& grid) : x_(x), grid_(grid) {
    for (size_t g = 0; g < kGroups; ++g) steps_[g] = FindStep(GroupOf(g), grid.quants);
  }

  SymmetricFit Run() {
    const float largest = LargestWithSign(steps_.data(), steps_.size());
    // The largest step need not be the largest integer: other choices may round the rest better.
    for (int less = 0; less < 4; ++less) {
      Try(F32ToF16(-largest / static_cast<float>(grid_.scales - less)));
    }
    for (int i = 0; i < 3; ++i) {
      const SymmetricFit previous = best_;
      TryRefined(previous);
    }
    return best_;
  }

 private:
  [[nodiscard]] Group GroupOf(size_t g) const { return {x_ + g * kGroup, kGroup}; }

  // Takes over the fit with this factor if it is better.
  void Try(uint16_t half) {
    const float d = F16ToF32(half);
    SymmetricFit fit = {.d = half};
    double total = 0;
    for (size_t g = 0; g < kGroups; ++g) {
      const int scale = RoundTo(steps_[g] * InverseOrZero(d), -grid_.scales, grid_.scales - 1);
      float best_error = std::numeric_limits<float>::infinity();
      const int last = std::min(scale + 1, grid_.scales - 1);
      for (int s = std::max(scale - 1, -grid_.scales); s <= last; ++s) {
        const float error = ErrorOf(GroupOf(g), d * static_cast<float>(s), grid_.quants);
        if (!(error < best_error)) continue;
        best_error = error;
        fit.scales[g] = s;
      }
      total += best_error;
    }
    // The first one stands even where it overflows, so that the result shows it.
    if (tried_ && !(total < best_error_)) return;
    tried_ = true;
    best_error_ = total;
    for (size_t i = 0; i < kElements; ++i) {
      const float step = d * static_cast<float>(fit.scales[i / kGroup]);
      fit.quants[i] = static_cast<int8_t>(QuantOf(x_[i], InverseOrZero(step), grid_.quants));
    }
    best_ = fit;
  }

  // Tries the factor that serves the quants of `fit` best, by least squares over the block.
  void TryRefined(const SymmetricFit& fit) {
    double aa = 0;
    double ax = 0;
    for (size_t i = 0; i < kElements; ++i) {
      const double a = fit.scales[i / kGroup] * fit.quants[i];
      aa += a * a;
      ax += a * x_[i];
    }
    if (aa > 0) Try(F32ToF16(static_cast<float>(ax / aa)));
  }

  const float* x_;
  SymmetricGrid grid_;
  std::array<float, kGroups> steps_{};
  SymmetricFit best_;
  double best_error_ = 0;
  bool tried_ = false;
};

}  // namespace

SymmetricFit FitSymmetricGroups(const float* x, const SymmetricGrid& grid) {
  return Search(x, grid).Run();
}

}  // namespace choir::engine
