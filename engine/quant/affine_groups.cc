#include "engine/quant/affine_groups.h"

#include <algorithm>
#include <limits>
#include <span>

#include "engine/quant/block_codec.h"
#include "engine/quant/half.h"

namespace choir::engine {
namespace {

constexpr size_t kElements = 256;
using Group = std::span<const float>;

// x ~ scale * q - min; neither is negative.
struct Line {
  float scale = 0.0f;
  float min = 0.0f;
};

int QuantOf(float x, const Line& line, float inverse, int max_quant) {
  return TruncateTo((x + line.min) * inverse + 0.5f, 0, max_quant);
}

float ErrorOf(Group x, const Line& line, int max_quant) {
  const float inverse = InverseOrZero(line.scale);
  float error = 0.0f;
  for (const float value : x) {
    const auto q = static_cast<float>(QuantOf(value, line, inverse, max_quant));
    const float off = line.scale * q - line.min - value;
    error += off * off;
  }
  return error;
}

// The least-squares line through the quants that `line` gives; `line` if they do not determine one.
Line Refine(Group x, const Line& line, int max_quant) {
  const float inverse = InverseOrZero(line.scale);
  double sum_q = 0;
  double sum_qq = 0;
  double sum_x = 0;
  double sum_xq = 0;
  for (const float value : x) {
    const double q = QuantOf(value, line, inverse, max_quant);
    sum_q += q;
    sum_qq += q * q;
    sum_x += value;
    sum_xq += value * q;
  }
  const auto count = static_cast<double>(x.size());
  const double determinant = count * sum_qq - sum_q * sum_q;
  if (!(determinant > 0)) return line;
  const double scale = (count * sum_xq - sum_x * sum_q) / determinant;
  const double min = (sum_q * sum_xq - sum_qq * sum_x) / determinant;
  if (min < 0) return {static_cast<float>(std::max(sum_xq / sum_qq, 0.0)), 0.0f};
  return {static_cast<float>(std::max(scale, 0.0)), static_cast<float>(min)};
}

Line FindLine(Group x, int max_quant) {
  const auto [lowest, highest] = std::minmax_element(x.begin(), x.end());
  const float low = std::min(*lowest, 0.0f);
  const float range = *highest - low;
  if (!(range > 0)) return {0.0f, -low};
  Line best = {range / static_cast<float>(max_quant), -low};
  float best_error = ErrorOf(x, best, max_quant);
  // Grids up to one step too wide and two too narrow for the range: giving up the outermost values
  // often serves the others.
  for (int tenths = -10; tenths <= 20; ++tenths) {
    const float steps = static_cast<float>(max_quant) + 0.1f * static_cast<float>(tenths);
    const Line line = Refine(x, {range / steps, -low}, max_quant);
    const float error = ErrorOf(x, line, max_quant);
    if (error < best_error) {
      best_error = error;
      best = line;
    }
  }
  return best;
}

// One block's fit with its error.
class Search {
 public:
  Search(const float* x, const AffineGrid& grid)
      : x_(x), grid_(grid), groups_(kElements / grid.group) {
    for (size_t g = 0; g < groups_; ++g) lines_[g] = FindLine(GroupOf(g), grid.max_quant);
  }

  AffineFit Run() {
    float scale = 0.0f;
    float min = 0.0f;
    for (size_t g = 0; g < groups_; ++g) {
      scale = std::max(scale, lines_[g].scale);
      min = std::max(min, lines_[g].min);
    }
    // The largest scale need not be the largest integer: other choices may round the rest better.
    for (int less = 0; less < 4; ++less) {
      const auto top = static_cast<float>(grid_.max_scale - less);
      Try(F32ToF16(scale / top), F32ToF16(min / top));
    }
    for (int i = 0; i < 3; ++i) {
      const AffineFit previous = best_;
      TryRefined(previous);
    }
    return best_;
  }

 private:
  [[nodiscard]] Group GroupOf(size_t g) const { return {x_ + g * grid_.group, grid_.group}; }

  // The best whole scale and min of a group, near its own line.
  void RoundGroup(size_t g, float d, float dmin, AffineFit& fit, double& total) const {
    const int scale = RoundTo(lines_[g].scale * InverseOrZero(d), 0, grid_.max_scale);
    const int min = RoundTo(lines_[g].min * InverseOrZero(dmin), 0, grid_.max_scale);
    float best_error = std::numeric_limits<float>::infinity();
    for (int s = std::max(scale - 1, 0); s <= std::min(scale + 1, grid_.max_scale); ++s) {
      for (int m = std::max(min - 1, 0); m <= std::min(min + 1, grid_.max_scale); ++m) {
        const Line line = {d * static_cast<float>(s), dmin * static_cast<float>(m)};
        const float error = ErrorOf(GroupOf(g), line, grid_.max_quant);
        if (!(error < best_error)) continue;
        best_error = error;
        fit.scales[g] = s;
        fit.mins[g] = m;
      }
    }
    total += best_error;
  }

  // Takes over the fit with these factors if it is better.
  void Try(uint16_t d, uint16_t dmin) {
    AffineFit fit = {.d = d, .dmin = dmin};
    double total = 0;
    for (size_t g = 0; g < groups_; ++g) {
      RoundGroup(g, F16ToF32(d), F16ToF32(dmin), fit, total);
    }
    // The first one stands even where it overflows, so that the result shows it.
    if (tried_ && !(total < best_error_)) return;
    tried_ = true;
    best_error_ = total;
    for (size_t i = 0; i < kElements; ++i) {
      const size_t g = i / grid_.group;
      const Line line = {F16ToF32(d) * static_cast<float>(fit.scales[g]),
                         F16ToF32(dmin) * static_cast<float>(fit.mins[g])};
      fit.quants[i] =
          static_cast<uint8_t>(QuantOf(x_[i], line, InverseOrZero(line.scale), grid_.max_quant));
    }
    best_ = fit;
  }

  // Tries the factors that serve the quants of `fit` best, by least squares over the block.
  void TryRefined(const AffineFit& fit) {
    double aa = 0;
    double ab = 0;
    double bb = 0;
    double ax = 0;
    double bx = 0;
    for (size_t i = 0; i < kElements; ++i) {
      const size_t g = i / grid_.group;
      const double a = fit.scales[g] * fit.quants[i];
      const double b = -fit.mins[g];
      aa += a * a;
      ab += a * b;
      bb += b * b;
      ax += a * x_[i];
      bx += b * x_[i];
    }
    const double determinant = aa * bb - ab * ab;
    double d = aa > 0 ? ax / aa : 0;
    double dmin = F16ToF32(fit.dmin);
    if (determinant > 0) {
      d = (ax * bb - bx * ab) / determinant;
      dmin = (bx * aa - ax * ab) / determinant;
    } else if (!(aa > 0) && bb > 0) {
      dmin = bx / bb;
    }
    if (!(d >= 0) || !(dmin >= 0)) return;
    Try(F32ToF16(static_cast<float>(d)), F32ToF16(static_cast<float>(dmin)));
  }

  const float* x_;
  AffineGrid grid_;
  size_t groups_;
  std::array<Line, 16> lines_{};
  AffineFit best_;
  double best_error_ = 0;
  bool tried_ = false;
};

}  // namespace

AffineFit FitAffineGroups(const float* x, const AffineGrid& grid) {
  return Search(x, grid).Run();
}

}  // namespace choir::engine
