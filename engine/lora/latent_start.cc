// The decomposition that a latent run starts from; Eigen stays in this file.
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/lora/latent.h"
#include <Eigen/Dense>

namespace choir::engine {
namespace {

using Matrix = Eigen::MatrixXd;
using RowMajor = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix FromRows(const std::vector<float>& values, int64_t rows, int64_t cols) {
  return Eigen::Map<const RowMajor>(values.data(), rows, cols).cast<double>();
}

void ToRows(const Matrix& matrix, std::vector<float>& values) {
  Eigen::Map<RowMajor>(values.data(), matrix.rows(), matrix.cols()) = matrix.cast<float>();
}

// The thin Q of a tall matrix: orthonormal columns even where the matrix lacks rank.
struct ThinQr {
  explicit ThinQr(const Matrix& tall) {
    const Eigen::HouseholderQR<Matrix> qr(tall);
    q = qr.householderQ() * Matrix::Identity(tall.rows(), tall.cols());
    r = qr.matrixQR().topRows(tall.cols()).triangularView<Eigen::Upper>();
  }
  Matrix q;
  Matrix r;
};

absl::Status MakePair(LoraPair& pair, LoraPair& basis) {
  if (pair.rows < pair.rank || pair.cols < pair.rank) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} x {} is smaller than the rank of {}, so it has no latent form",
                    pair.name, pair.rows, pair.cols, pair.rank));
  }
  const ThinQr b(FromRows(pair.b, pair.rows, pair.rank));
  const ThinQr a(FromRows(pair.a, pair.rank, pair.cols).transpose());
  const Eigen::JacobiSVD<Matrix> svd(b.r * a.r.transpose(),
                                     Eigen::ComputeFullU | Eigen::ComputeFullV);
  const Matrix u = b.q * svd.matrixU();
  ToRows((a.q * svd.matrixV()).transpose(), pair.a);
  ToRows(u * svd.singularValues().asDiagonal(), pair.b);
  basis.a = pair.a;
  ToRows(u, basis.b);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<LatentStart> MakeLatent(const Adapter& adapter) {
  CHOIR_RETURN_IF_ERROR(CheckFinite(adapter));
  LatentStart start{adapter, adapter};
  for (size_t i = 0; i < adapter.pairs.size(); ++i) {
    CHOIR_RETURN_IF_ERROR(MakePair(start.adapter.pairs[i], start.basis.pairs[i]));
  }
  return start;
}

}  // namespace choir::engine
