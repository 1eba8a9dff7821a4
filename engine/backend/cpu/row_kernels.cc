// Kernels that move rows: embed and its gradient, gather_rows.

#include <cstring>
#include <optional>

#include <fmt/format.h>

#include "engine/backend/cpu/kernel_table.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/backend/cpu/weight_chunks.h"

namespace choir::engine {
namespace {

absl::Status CheckRows(const int32_t* rows, int64_t count, int64_t limit) {
  for (int64_t i = 0; i < count; ++i) {
    if (rows[i] < 0 || rows[i] >= limit) {
      return absl::InvalidArgumentError(
          fmt::format("row {} at position {} is outside the table's {} rows", rows[i], i, limit));
    }
  }
  return absl::OkStatus();
}

// An adapter of the table.
struct EmbedBypass {
  CpuInput a;  // (R, C)
  CpuInput b;  // (V, R)
  float* u;    // (T, R)
  float scale;

  static std::optional<EmbedBypass> Of(const CpuCall& call) {
    if (call.attrs.Int("lora") == 0) return std::nullopt;
    const double scale = call.attrs.Float("scale") * call.attrs.Float("lora_scale");
    return EmbedBypass{call.inputs[2], call.inputs[3], call.outputs[1].f32(),
                       static_cast<float>(scale)};
  }
  // u_t = B[id]; row += scale * u_t A.
  void AddTo(float* row, int64_t t, int32_t id) const {
    const int64_t rank = a.rows();
    const float* const factors = b.f32() + id * rank;
    std::memcpy(u + t * rank, factors, static_cast<size_t>(rank) * sizeof(float));
    for (int64_t r = 0; r < rank; ++r) {
      CombineVectors(1.0F, row, scale * factors[r], a.f32() + r * a.cols(), row,
                     static_cast<size_t>(a.cols()));
    }
  }
};

absl::StatusOr<CpuProgram> PrepareEmbed(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const int32_t* const ids = call.inputs[0].i32();
  const WeightRows table(call.inputs[1]);
  const int64_t vocabulary = call.inputs[1].rows();
  const auto scale = static_cast<float>(call.attrs.Float("scale"));
  const CpuOutput out = call.outputs[0];
  const std::optional<EmbedBypass> bypass = EmbedBypass::Of(call);
  return [=](CpuRun& run) {
    if (auto status = CheckRows(ids, out.rows(), vocabulary); !status.ok()) return status;
    const int64_t cols = out.cols();
    table.ForEachLookup(out.rows(), run, [&](int64_t t, int) {
      float* const row = out.f32() + t * cols;
      ScaleVector(table.Row(ids[t], row), scale, row, static_cast<size_t>(cols));
      if (bypass) bypass->AddTo(row, t, ids[t]);
    });
    return absl::OkStatus();
  };
}

// d[ids[t]] += scale * dy_t A^T: the products in parallel, the sums in order, so that they are the
// same for every number of threads.
absl::StatusOr<CpuProgram> PrepareEmbedGrad(const CpuCall& call, CpuCompiler& compiler) {
  const CpuInput dy = call.inputs[0];
  const int32_t* const ids = call.inputs[1].i32();
  const CpuInput a = call.inputs[2];
  const CpuOutput d = call.updates[0];
  const auto scale = static_cast<float>(call.attrs.Float("scale"));
  const SharedScratch products = compiler.ReserveShared(dy.rows() * a.rows() * 4);
  return [=](CpuRun& run) {
    if (auto status = CheckRows(ids, dy.rows(), d.rows()); !status.ok()) return status;
    const int64_t rank = a.rows();
    auto* const sums = run.Get<float>(products);
    run.ParallelRanges(dy.rows(), 8, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = begin; t < end; ++t) {
        for (int64_t r = 0; r < rank; ++r) {
          sums[t * rank + r] = DotProduct(dy.f32() + t * dy.cols(), a.f32() + r * a.cols(),
                                          static_cast<size_t>(a.cols()));
        }
      }
    });
    for (int64_t t = 0; t < dy.rows(); ++t) {
      float* const row = d.f32() + ids[t] * rank;
      CombineVectors(1.0F, row, scale, sums + t * rank, row, static_cast<size_t>(rank));
    }
    return absl::OkStatus();
  };
}

absl::StatusOr<CpuProgram> PrepareGatherRows(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const CpuInput x = call.inputs[0];
  const int32_t* const rows = call.inputs[1].i32();
  const CpuOutput out = call.outputs[0];
  return [=](CpuRun& /*run*/) {
    if (auto status = CheckRows(rows, out.rows(), x.rows()); !status.ok()) return status;
    const int64_t cols = out.cols();
    for (int64_t i = 0; i < out.rows(); ++i) {
      std::memcpy(out.f32() + i * cols, x.f32() + rows[i] * cols,
                  static_cast<size_t>(cols) * sizeof(float));
    }
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kEmbedCpuKernel = {PrepareEmbed};
const CpuKernel kEmbedGradCpuKernel = {PrepareEmbedGrad};
const CpuKernel kGatherRowsCpuKernel = {PrepareGatherRows};

}  // namespace choir::engine
