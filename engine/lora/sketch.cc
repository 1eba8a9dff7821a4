#include "engine/lora/sketch.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/random.h"
#include "base/status_macros.h"

namespace choir::engine {
namespace {

// Columns are stored as f32; ranks of some hundreds add up rounding of some 1e-5.
constexpr double kOrthonormalTolerance = 1e-3;

// (n, m) times (m, k), all row-major.
std::vector<double> Multiply(std::span<const float> x, const std::vector<double>& y, int64_t n,
                             int64_t m, int64_t k) {
  std::vector<double> out(static_cast<size_t>(n * k));
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t j = 0; j < m; ++j) {
      const double factor = double{x[static_cast<size_t>(i * m + j)]};
      for (int64_t c = 0; c < k; ++c) {
        out[static_cast<size_t>(i * k + c)] += factor * y[static_cast<size_t>(j * k + c)];
      }
    }
  }
  return out;
}

// Omega (cols, s).
std::vector<double> Omega(int64_t cols, int64_t width, uint64_t seed, size_t place) {
  // The golden ratio keeps the streams of neighbouring places apart.
  SeededRng rng(seed * 0x9E3779B97F4A7C15u + place);
  std::vector<double> omega(static_cast<size_t>(cols * width));
  for (double& value : omega) value = (rng.NextU64() >> 63) != 0 ? 1.0 : -1.0;
  return omega;
}

std::vector<float> Difference(std::vector<float> x, const std::vector<float>& y) {
  for (size_t i = 0; i < x.size(); ++i) x[i] -= y[i];
  return x;
}

void Append(const std::vector<double>& values, std::vector<float>& out) {
  for (const double value : values) out.push_back(static_cast<float>(value));
}

absl::Status CheckColumns(const LoraPair& basis) {
  for (int64_t p = 0; p < basis.rank; ++p) {
    for (int64_t q = 0; q <= p; ++q) {
      double sum = 0;
      for (int64_t i = 0; i < basis.rows; ++i) {
        sum += double{basis.b[static_cast<size_t>(i * basis.rank + p)]} *
               double{basis.b[static_cast<size_t>(i * basis.rank + q)]};
      }
      const double wanted = p == q ? 1.0 : 0.0;
      if (std::abs(sum - wanted) <= kOrthonormalTolerance) continue;  // false for NaN
      return absl::InvalidArgumentError(
          fmt::format("{}: columns {} and {} of the sketch's basis have product {}, not {}",
                      basis.name, p, q, sum, wanted));
    }
  }
  return absl::OkStatus();
}

}  // namespace

int64_t SketchWidth(const LoraPair& pair) {
  return std::min({pair.rank + kSketchOversampling, pair.rows, pair.cols});
}

uint64_t LeftSketchLength(const Adapter& adapter) {
  uint64_t length = 0;
  for (const LoraPair& pair : adapter.pairs) {
    length += static_cast<uint64_t>(pair.rows * SketchWidth(pair));
  }
  return length;
}

uint64_t RightSketchLength(const Adapter& adapter) {
  uint64_t length = 0;
  for (const LoraPair& pair : adapter.pairs) {
    length += static_cast<uint64_t>(SketchWidth(pair) * pair.cols);
  }
  return length;
}

std::vector<float> LeftSketch(const Adapter& adapter, uint64_t seed) {
  std::vector<float> out;
  out.reserve(LeftSketchLength(adapter));
  for (size_t n = 0; n < adapter.pairs.size(); ++n) {
    const LoraPair& pair = adapter.pairs[n];
    const int64_t width = SketchWidth(pair);
    const std::vector<double> a_omega =
        Multiply(pair.a, Omega(pair.cols, width, seed, n), pair.rank, pair.cols, width);
    Append(Multiply(pair.b, a_omega, pair.rows, pair.rank, width), out);
  }
  return out;
}

std::vector<float> RightSketch(const Adapter& adapter, const Adapter& basis) {
  std::vector<float> out;
  out.reserve(RightSketchLength(adapter));
  for (size_t n = 0; n < adapter.pairs.size(); ++n) {
    const LoraPair& pair = adapter.pairs[n];
    const LoraPair& q = basis.pairs[n];
    std::vector<float> q_b(static_cast<size_t>(q.rank * pair.rank));
    for (int64_t p = 0; p < q.rank; ++p) {
      for (int64_t k = 0; k < pair.rank; ++k) {
        double sum = 0;
        for (int64_t i = 0; i < pair.rows; ++i) {
          sum += double{q.b[static_cast<size_t>(i * q.rank + p)]} *
                 double{pair.b[static_cast<size_t>(i * pair.rank + k)]};
        }
        q_b[static_cast<size_t>(p * pair.rank + k)] = static_cast<float>(sum);
      }
    }
    const std::vector<double> a(pair.a.begin(), pair.a.end());
    Append(Multiply(q_b, a, q.rank, pair.rank, pair.cols), out);
  }
  return out;
}

std::vector<float> LeftSketchDelta(const Adapter& trained, const Adapter& start, uint64_t seed) {
  return Difference(LeftSketch(trained, seed), LeftSketch(start, seed));
}

std::vector<float> RightSketchDelta(const Adapter& trained, const Adapter& start,
                                    const Adapter& basis) {
  return Difference(RightSketch(trained, basis), RightSketch(start, basis));
}

absl::Status CheckSketchBasis(const Adapter& basis, const Adapter& adapter) {
  CHOIR_RETURN_IF_ERROR(ValidateAdapter(basis));
  bool fits = basis.pairs.size() == adapter.pairs.size();
  for (size_t i = 0; fits && i < basis.pairs.size(); ++i) {
    const LoraPair& q = basis.pairs[i];
    const LoraPair& pair = adapter.pairs[i];
    fits = q.name == pair.name && q.rows == pair.rows && q.cols == pair.cols &&
           q.rank == SketchWidth(pair);
  }
  if (!fits) return absl::InvalidArgumentError("the sketch's basis is none of this adapter");
  for (const LoraPair& q : basis.pairs) CHOIR_RETURN_IF_ERROR(CheckColumns(q));
  return absl::OkStatus();
}

}  // namespace choir::engine
