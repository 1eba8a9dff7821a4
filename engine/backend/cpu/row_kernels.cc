// Kernels that move rows: embed, gather_rows, kv_append.

#include <cstring>

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

absl::StatusOr<CpuProgram> PrepareEmbed(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const int32_t* const ids = call.inputs[0].i32();
  const WeightRows table(call.inputs[1]);
  const int64_t vocabulary = call.inputs[1].rows();
  const auto scale = static_cast<float>(call.attrs.Float("scale"));
  const CpuOutput out = call.outputs[0];
  return [=](CpuRun& run) {
    if (auto status = CheckRows(ids, out.rows(), vocabulary); !status.ok()) return status;
    const int64_t cols = out.cols();
    run.ParallelFor(out.rows(), [&](int64_t t, int) {
      float* const row = out.f32() + t * cols;
      ScaleVector(table.Row(ids[t], row), scale, row, static_cast<size_t>(cols));
    });
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

absl::StatusOr<CpuProgram> PrepareKvAppend(const CpuCall& call, CpuCompiler& /*compiler*/) {
  const CpuInput x = call.inputs[0];
  const int32_t* const start = call.inputs[1].i32();
  const CpuOutput cache = call.updates[0];
  return [=](CpuRun& /*run*/) {
    if (*start < 0 || *start > cache.rows() - x.rows()) {
      return absl::InvalidArgumentError(fmt::format(
          "{} tokens at position {} do not fit a cache of {}", x.rows(), *start, cache.rows()));
    }
    std::memcpy(cache.f32() + *start * cache.cols(), x.f32(),
                static_cast<size_t>(x.rows() * x.cols()) * sizeof(float));
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kEmbedCpuKernel = {PrepareEmbed};
const CpuKernel kGatherRowsCpuKernel = {PrepareGatherRows};
const CpuKernel kKvAppendCpuKernel = {PrepareKvAppend};

}  // namespace choir::engine
