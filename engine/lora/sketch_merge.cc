// What the coordinator makes of sketches.
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/lora/eigen_matrices.h"
#include "engine/lora/sketch.h"

namespace choir::engine {
namespace {

absl::Status WrongCount(uint64_t wanted, size_t got) {
  return absl::InvalidArgumentError(fmt::format("a sketch of {} values, expected {}", got, wanted));
}

// P = U S V^T by QR of P^T, so that the decomposition is of (s, s).
void TakePair(const EigenMatrix& q, const EigenMatrix& p, LoraPair& pair) {
  const ThinQr of_p(p.transpose());  // P = R^T Q^T
  const Eigen::JacobiSVD<EigenMatrix> svd(of_p.r.transpose(),
                                          Eigen::ComputeFullU | Eigen::ComputeFullV);
  const int64_t kept = std::min<int64_t>(pair.rank, svd.singularValues().size());
  const EigenMatrix roots = svd.singularValues().head(kept).cwiseSqrt().asDiagonal();
  EigenMatrix b = EigenMatrix::Zero(pair.rows, pair.rank);
  EigenMatrix a = EigenMatrix::Zero(pair.rank, pair.cols);
  b.leftCols(kept) = q * svd.matrixU().leftCols(kept) * roots;
  a.topRows(kept) = roots * (of_p.q * svd.matrixV().leftCols(kept)).transpose();
  ToRows(b, pair.b);
  ToRows(a, pair.a);
}

}  // namespace

absl::StatusOr<Adapter> SketchBasis(const Adapter& shape, std::span<const float> left) {
  if (left.size() != LeftSketchLength(shape)) {
    return WrongCount(LeftSketchLength(shape), left.size());
  }
  Adapter basis = shape;
  for (LoraPair& pair : basis.pairs) {
    const int64_t width = SketchWidth(pair);
    const auto size = static_cast<size_t>(pair.rows * width);
    pair.rank = width;
    pair.a.assign(static_cast<size_t>(width * pair.cols), 0.0f);
    pair.b.resize(size);
    ToRows(ThinQr(FromRows(left.first(size), pair.rows, width)).q, pair.b);
    left = left.subspan(size);
  }
  return basis;
}

absl::StatusOr<Adapter> AdapterFromSketch(const Adapter& shape, const Adapter& basis,
                                          std::span<const float> right) {
  CHOIR_RETURN_IF_ERROR(CheckSketchBasis(basis, shape));
  if (right.size() != RightSketchLength(shape)) {
    return WrongCount(RightSketchLength(shape), right.size());
  }
  Adapter adapter = shape;
  for (size_t n = 0; n < adapter.pairs.size(); ++n) {
    LoraPair& pair = adapter.pairs[n];
    const int64_t width = SketchWidth(pair);
    const auto size = static_cast<size_t>(width * pair.cols);
    TakePair(FromRows(basis.pairs[n].b, pair.rows, width),
             FromRows(right.first(size), width, pair.cols), pair);
    right = right.subspan(size);
  }
  return adapter;
}

}  // namespace choir::engine
