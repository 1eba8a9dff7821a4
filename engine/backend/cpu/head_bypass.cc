#include "engine/backend/cpu/head_bypass.h"

#include <cstring>

#include "base/status_macros.h"
#include "engine/backend/cpu/blocking.h"
#include "engine/backend/cpu/vector_math.h"

namespace choir::engine {
namespace {

// Inputs of the adapter.
constexpr size_t kFactorA = 5;
constexpr size_t kFactorB = 6;
constexpr size_t kKeyInput = 7;
// Vocabulary rows in a block of dB's product, which is as thin as the rank.
constexpr int64_t kGradientRows = 256;

}  // namespace

HeadBypass::HeadBypass(const CpuCall& call, const HeadRows& rows, const WeightChunks& weight,
                       CpuCompiler& compiler)
    : h_(call.inputs[0]),
      a_(call.inputs[kFactorA]),
      b_(call.inputs[kFactorB]),
      scale_(static_cast<float>(call.attrs.Float("lora_scale"))),
      dropout_(CallDropout::Of(call, kKeyInput)),
      rows_(rows),
      weight_(weight) {
  const int64_t rank = a_.rows();
  wide_ = compiler.ReserveShared(rows.capacity * h_.cols() * 4);
  u_ = compiler.ReserveShared(rows.capacity * rank * 4);
  if (call.outputs.size() < 3) return;
  dh_ = call.outputs[1].f32();
  v_ = call.outputs[2].f32();
  if (!call.updates.empty()) d_b_ = call.updates[0].f32();
  gathered_v_ = compiler.ReserveShared(rows.capacity * rank * 4);
}

absl::Status HeadBypass::MakeProducts(GemmLibrary& gemms) {
  const int64_t rank = a_.rows();
  const GemmShape u{.m = rows_.capacity,
                    .n = rank,
                    .k = h_.cols(),
                    .lda = h_.cols(),
                    .ldb = h_.cols(),
                    .ldc = rank,
                    .transpose_b = true};
  CHOIR_ASSIGN_OR_RETURN(u_gemm_, BlockedGemm::Create(gemms, u, rows_.token_block, rank));
  GemmShape logits{.m = rows_.capacity,
                   .k = rank,
                   .lda = rank,
                   .ldb = rank,
                   .ldc = weight_.chunk_rows(),
                   .transpose_b = true,
                   .accumulate = true};
  for (const bool last : {false, true}) {
    logits.n = weight_.Rows(last ? weight_.num_chunks() - 1 : 0);
    CHOIR_ASSIGN_OR_RETURN(logits_gemm_[last], BlockedGemm::Create(gemms, logits, rows_.token_block,
                                                                   rows_.vocabulary_block));
  }
  return v_ == nullptr ? absl::OkStatus() : MakeGradientProducts(gemms);
}

absl::Status HeadBypass::MakeGradientProducts(GemmLibrary& gemms) {
  const int64_t rank = a_.rows();
  const int64_t stride = weight_.chunk_rows();
  GemmShape v{.m = rows_.capacity, .n = rank, .lda = stride, .ldb = rank, .ldc = rank};
  for (int i = 0; i < 3; ++i) {
    v.k = weight_.Rows(i == 2 ? weight_.num_chunks() - 1 : 0);
    v.accumulate = i != 0;
    CHOIR_ASSIGN_OR_RETURN(v_gemm_[i], BlockedGemm::Create(gemms, v, rows_.token_block, rank));
  }
  GemmShape b{.n = rank,
              .k = rows_.capacity,
              .lda = stride,
              .ldb = rank,
              .ldc = rank,
              .transpose_a = true,
              .accumulate = true};
  for (const bool last : {false, true}) {
    b.m = weight_.Rows(last ? weight_.num_chunks() - 1 : 0);
    CHOIR_ASSIGN_OR_RETURN(b_gemm_[last], BlockedGemm::Create(gemms, b, kGradientRows, rank));
  }
  const GemmShape h{.m = rows_.capacity,
                    .n = h_.cols(),
                    .k = rank,
                    .lda = rank,
                    .ldb = h_.cols(),
                    .ldc = h_.cols()};
  CHOIR_ASSIGN_OR_RETURN(h_gemm_,
                         BlockedGemm::Create(gemms, h, rows_.token_block, BlockColumns(h_.cols())));
  return absl::OkStatus();
}

absl::StatusOr<std::optional<HeadBypass>> HeadBypass::Create(const CpuCall& call,
                                                             const HeadRows& rows,
                                                             const WeightChunks& weight,
                                                             CpuCompiler& compiler) {
  if (call.attrs.IntOr("lora", 0) == 0) return std::nullopt;
  HeadBypass bypass(call, rows, weight, compiler);
  CHOIR_RETURN_IF_ERROR(bypass.MakeProducts(compiler.gemms()));
  return bypass;
}

void HeadBypass::ClearV() const {
  if (v_ == nullptr) return;
  std::memset(v_, 0, static_cast<size_t>(h_.rows() * a_.rows()) * sizeof(float));
}

void HeadBypass::Begin(std::span<const int64_t> tokens, CpuRun& run) const {
  const int64_t cols = h_.cols();
  const auto row_bytes = static_cast<size_t>(cols) * sizeof(float);
  auto* const wide = run.Get<float>(wide_);
  const std::optional<DropoutMask> mask = dropout_ ? std::optional(dropout_->Mask()) : std::nullopt;
  run.ParallelRanges(rows_.capacity, 8, [&](int64_t begin, int64_t end, int) {
    for (int64_t i = begin; i < end; ++i) {
      float* const row = wide + i * cols;
      if (i >= static_cast<int64_t>(tokens.size())) {
        std::memset(row, 0, row_bytes);
        continue;
      }
      const int64_t token = tokens[static_cast<size_t>(i)];
      const float* const source = h_.f32() + token * cols;
      if (mask) {
        DropRow(*mask, token, source, row, static_cast<size_t>(cols));
      } else {
        std::memcpy(row, source, row_bytes);
      }
    }
  });
  auto* const u = run.Get<float>(u_);
  run.ParallelFor(u_gemm_.num_blocks(), [&](int64_t block, int worker) {
    u_gemm_.RunBlock(block, worker, wide, a_.data, u);
  });
  ScaleVector(u, scale_, u, static_cast<size_t>(rows_.capacity * a_.rows()));
}

void HeadBypass::AddToLogits(int64_t chunk, int64_t block, int worker, float* logits,
                             CpuRun& run) const {
  const float* const b = b_.f32() + weight_.Begin(chunk) * b_.cols();
  logits_gemm_[chunk + 1 == weight_.num_chunks()].RunBlock(block, worker, run.Get<float>(u_), b,
                                                           logits);
}

void HeadBypass::AddGradient(int64_t chunk, const float* dz, CpuRun& run) const {
  const bool last = chunk + 1 == weight_.num_chunks();
  const int64_t begin = weight_.Begin(chunk) * b_.cols();
  const BlockedGemm& v_gemm = v_gemm_[chunk == 0 ? 0 : last ? 2 : 1];
  auto* const v = run.Get<float>(gathered_v_);
  run.ParallelFor(v_gemm.num_blocks(), [&](int64_t block, int worker) {
    v_gemm.RunBlock(block, worker, dz, b_.f32() + begin, v);
  });
  if (d_b_ == nullptr) return;
  run.ParallelFor(b_gemm_[last].num_blocks(), [&](int64_t block, int worker) {
    b_gemm_[last].RunBlock(block, worker, dz, run.Get<float>(u_), d_b_ + begin);
  });
}

void HeadBypass::End(std::span<const int64_t> tokens, CpuRun& run) const {
  const int64_t rank = a_.rows();
  const int64_t cols = h_.cols();
  auto* const v = run.Get<float>(gathered_v_);
  ScaleVector(v, scale_, v, static_cast<size_t>(rows_.capacity * rank));
  auto* const wide = run.Get<float>(wide_);
  run.ParallelFor(h_gemm_.num_blocks(), [&](int64_t block, int worker) {
    h_gemm_.RunBlock(block, worker, v, a_.data, wide);
  });
  const std::optional<DropoutMask> mask = dropout_ ? std::optional(dropout_->Mask()) : std::nullopt;
  run.ParallelFor(static_cast<int64_t>(tokens.size()), [&](int64_t i, int) {
    const int64_t token = tokens[static_cast<size_t>(i)];
    std::memcpy(v_ + token * rank, v + i * rank, static_cast<size_t>(rank) * sizeof(float));
    float* const out = dh_ + token * cols;
    if (mask) {
      AddDroppedRow(*mask, token, wide + i * cols, out, static_cast<size_t>(cols));
    } else {
      AddVectors(out, wide + i * cols, out, static_cast<size_t>(cols));
    }
  });
}

}  // namespace choir::engine
