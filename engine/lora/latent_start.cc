// The decomposition that a latent run starts from.
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/lora/eigen_matrices.h"
#include "engine/lora/latent.h"

namespace choir::engine {
namespace {

absl::Status MakePair(LoraPair& pair, LoraPair& basis) {
  if (pair.rows < pair.rank || pair.cols < pair.rank) {
    return absl::InvalidArgumentError(
        fmt::format("{}: {} x {} is smaller than the rank of {}, so it has no latent form",
                    pair.name, pair.rows, pair.cols, pair.rank));
  }
  const ThinQr b(FromRows(pair.b, pair.rows, pair.rank));
  const ThinQr a(FromRows(pair.a, pair.rank, pair.cols).transpose());
  const Eigen::JacobiSVD<EigenMatrix> svd(b.r * a.r.transpose(),
                                          Eigen::ComputeFullU | Eigen::ComputeFullV);
  const EigenMatrix u = b.q * svd.matrixU();
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
