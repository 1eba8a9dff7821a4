// lora_grad: d += scale * p^T drop(q), where either side may be as thin as a rank.

#include "base/status_macros.h"
#include "engine/backend/cpu/blocking.h"
#include "engine/backend/cpu/dropout.h"
#include "engine/backend/cpu/kernel_table.h"

namespace choir::engine {
namespace {

constexpr int64_t kBlockColumns = 128;

// out (cols, rows) = scale * x^T.
void TransposeScaled(const float* x, Shape shape, float scale, float* out) {
  for (int64_t t = 0; t < shape.rows; ++t) {
    for (int64_t c = 0; c < shape.cols; ++c)
      out[c * shape.rows + t] = scale * x[t * shape.cols + c];
  }
}

// The thinner side is transposed by hand, so that the product is thin^T (rows: the rank) times
// wide.
absl::StatusOr<CpuProgram> PrepareLoraGrad(const CpuCall& call, CpuCompiler& compiler) {
  const bool p_is_thin = call.inputs[0].cols() <= call.inputs[1].cols();
  const CpuInput thin = call.inputs[p_is_thin ? 0 : 1];
  const CpuInput wide = call.inputs[p_is_thin ? 1 : 0];
  float* const gradient = call.updates[0].f32();
  const auto scale = static_cast<float>(call.attrs.Float("scale"));
  const int64_t tokens = thin.rows();
  const BypassInput dropped_q(call.inputs[1], CallDropout::Of(call, 2), compiler);
  const SharedScratch transposed = compiler.ReserveShared(thin.desc.shape.NumElements() * 4);
  // Where q is the thin one, a block of the product is d's block transposed: it is made apart.
  const WorkerScratch block_scratch =
      compiler.ReservePerWorker(p_is_thin ? 0 : thin.cols() * kBlockColumns * 4);
  const GemmShape shape{.m = thin.cols(),
                        .n = wide.cols(),
                        .k = tokens,
                        .lda = tokens,
                        .ldb = wide.cols(),
                        .ldc = p_is_thin ? wide.cols() : kBlockColumns,
                        .accumulate = p_is_thin};
  CHOIR_ASSIGN_OR_RETURN(const BlockedGemm gemm,
                         BlockedGemm::Create(compiler.gemms(), shape, thin.cols(), kBlockColumns));

  return [=](CpuRun& run) {
    auto* const thin_t = run.Get<float>(transposed);
    const float* const q = dropped_q.Prepare(run);
    TransposeScaled(p_is_thin ? thin.f32() : q, thin.desc.shape, scale, thin_t);
    const float* const wide_data = p_is_thin ? q : wide.f32();
    run.ParallelFor(gemm.num_blocks(), [&](int64_t block, int worker) {
      if (p_is_thin) {
        gemm.RunBlock(block, worker, thin_t, wide_data, gradient);
        return;
      }
      const int64_t begin = block * kBlockColumns;
      const int64_t count = std::min(kBlockColumns, wide.cols() - begin);
      auto* const product = run.Get<float>(block_scratch, worker);
      gemm.RunBlockTo(block, worker, thin_t, wide_data, product);
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t r = 0; r < thin.cols(); ++r) {
          gradient[(begin + i) * thin.cols() + r] += product[r * kBlockColumns + i];
        }
      }
    });
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kLoraGradCpuKernel = {PrepareLoraGrad};

}  // namespace choir::engine
