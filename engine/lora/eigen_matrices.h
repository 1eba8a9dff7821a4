#ifndef CHOIR_ENGINE_LORA_EIGEN_MATRICES_H_
#define CHOIR_ENGINE_LORA_EIGEN_MATRICES_H_

// Between row-major f32 factors and Eigen's matrices of doubles. For sources only: Eigen stays
// inside this folder.

#include <cstdint>
#include <span>
#include <vector>

#include <Eigen/Dense>

namespace choir::engine {

using EigenMatrix = Eigen::MatrixXd;
using EigenRows = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

inline EigenMatrix FromRows(std::span<const float> values, int64_t rows, int64_t cols) {
  return Eigen::Map<const EigenRows>(values.data(), rows, cols).cast<double>();
}

// `values` has the matrix's size.
inline void ToRows(const EigenMatrix& matrix, std::vector<float>& values) {
  Eigen::Map<EigenRows>(values.data(), matrix.rows(), matrix.cols()) = matrix.cast<float>();
}

// The thin QR of a tall matrix: q has orthonormal columns even where the matrix lacks rank.
struct ThinQr {
  explicit ThinQr(const EigenMatrix& tall) {
    const Eigen::HouseholderQR<EigenMatrix> qr(tall);
    q = qr.householderQ() * EigenMatrix::Identity(tall.rows(), tall.cols());
    r = qr.matrixQR().topRows(tall.cols()).triangularView<Eigen::Upper>();
  }
  EigenMatrix q;
  EigenMatrix r;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_EIGEN_MATRICES_H_
