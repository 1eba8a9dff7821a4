#include "engine/lora/latent.h"

#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"

namespace choir::engine {
namespace {

// Columns are stored as f32; a rank of 512 adds up rounding of some 1e-5.
constexpr double kOrthonormalTolerance = 1e-3;

size_t Index(int64_t row, int64_t columns, int64_t column) {
  return static_cast<size_t>(row * columns + column);
}

// sum_i x[i][p] * y[i][q], over the rows of two (rows, rank) matrices.
double ColumnProduct(const LoraPair& x, int64_t p, const LoraPair& y, int64_t q) {
  double sum = 0;
  for (int64_t i = 0; i < x.rows; ++i) {
    sum += double{x.b[Index(i, x.rank, p)]} * double{y.b[Index(i, y.rank, q)]};
  }
  return sum;
}

absl::Status CheckOrthonormal(const LoraPair& basis) {
  for (int64_t p = 0; p < basis.rank; ++p) {
    for (int64_t q = 0; q <= p; ++q) {
      const double wanted = p == q ? 1.0 : 0.0;
      const double found = ColumnProduct(basis, p, basis, q);
      if (std::abs(found - wanted) <= kOrthonormalTolerance) continue;  // false for NaN
      return absl::InvalidArgumentError(
          fmt::format("{}: columns {} and {} of the basis have product {}, not {}", basis.name, p,
                      q, found, wanted));
    }
  }
  return absl::OkStatus();
}

}  // namespace

uint64_t CoreLength(const Adapter& adapter) {
  uint64_t length = 0;
  for (const LoraPair& pair : adapter.pairs) length += static_cast<uint64_t>(pair.rank * pair.rank);
  return length;
}

absl::Status CheckBasis(const Adapter& basis, const Adapter& adapter) {
  CHOIR_RETURN_IF_ERROR(ValidateAdapter(basis));
  if (!SameShape(basis, adapter)) {
    return absl::InvalidArgumentError("the basis has another shape than the adapter");
  }
  for (size_t i = 0; i < basis.pairs.size(); ++i) {
    const LoraPair& pair = basis.pairs[i];
    if (pair.rows < pair.rank) {
      return absl::InvalidArgumentError(fmt::format("{}: {} rows are fewer than the rank of {}",
                                                    pair.name, pair.rows, pair.rank));
    }
    if (pair.a != adapter.pairs[i].a) {
      return absl::InvalidArgumentError(
          fmt::format("{}: the basis has another A than the adapter", pair.name));
    }
    CHOIR_RETURN_IF_ERROR(CheckOrthonormal(pair));
  }
  return absl::OkStatus();
}

std::vector<float> CoreOf(const Adapter& adapter, const Adapter& basis) {
  std::vector<float> core;
  core.reserve(CoreLength(adapter));
  for (size_t i = 0; i < adapter.pairs.size(); ++i) {
    const LoraPair& pair = adapter.pairs[i];
    for (int64_t p = 0; p < pair.rank; ++p) {
      for (int64_t q = 0; q < pair.rank; ++q) {
        core.push_back(static_cast<float>(ColumnProduct(basis.pairs[i], p, pair, q)));
      }
    }
  }
  return core;
}

absl::Status SetCore(Adapter& adapter, const Adapter& basis, std::span<const float> core) {
  if (core.size() != CoreLength(adapter)) {
    return absl::InvalidArgumentError(fmt::format("the adapter's cores have {} values, got {}",
                                                  CoreLength(adapter), core.size()));
  }
  for (size_t n = 0; n < adapter.pairs.size(); ++n) {
    LoraPair& pair = adapter.pairs[n];
    const LoraPair& from = basis.pairs[n];
    for (int64_t i = 0; i < pair.rows; ++i) {
      for (int64_t q = 0; q < pair.rank; ++q) {
        double sum = 0;
        for (int64_t p = 0; p < pair.rank; ++p) {
          sum += double{from.b[Index(i, pair.rank, p)]} * double{core[Index(p, pair.rank, q)]};
        }
        pair.b[Index(i, pair.rank, q)] = static_cast<float>(sum);
      }
    }
    core = core.subspan(static_cast<size_t>(pair.rank * pair.rank));
  }
  return absl::OkStatus();
}

}  // namespace choir::engine
