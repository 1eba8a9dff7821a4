// linear and linear_backward: products with a frozen weight, with an optional LoRA bypass of rank
// R.

#include <cstring>
#include <optional>

#include "base/status_macros.h"
#include "engine/backend/cpu/blocking.h"
#include "engine/backend/cpu/dropout.h"
#include "engine/backend/cpu/kernel_table.h"
#include "engine/backend/cpu/linear_dots.h"
#include "engine/backend/cpu/lora_factors.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/backend/cpu/weight_chunks.h"

namespace choir::engine {
namespace {

// A (rows, cols) f32 operand, as f32 in place or as a bf16 copy made at each run.
class Operand {
 public:
  Operand(const CpuInput& input, GemmType type, CpuCompiler& compiler)
      : input_(input), type_(type) {
    if (type == GemmType::kBf16) {
      copy_ = compiler.ReserveShared(input.desc.shape.NumElements() * ElementBytes(type));
    }
  }
  [[nodiscard]] GemmType type() const { return type_; }
  const void* Prepare(CpuRun& run) const {
    if (type_ == GemmType::kF32) return input_.data;
    auto* const copy = run.Get<uint16_t>(copy_);
    run.ParallelRanges(
        input_.desc.shape.NumElements(), 32768, [&](int64_t begin, int64_t end, int) {
          ConvertToBf16(input_.f32() + begin, copy + begin, static_cast<size_t>(end - begin));
        });
    return copy;
  }

 private:
  CpuInput input_;
  GemmType type_;
  SharedScratch copy_;
};

// Products of one chunk of W: the full ones and the last. [is last]
using ChunkGemms = BlockedGemm[2];

// y += scaled_u B^T, for one chunk of B's rows, in the same blocks as y = x W^T.
struct LoraForward {
  LoraFactors factors;
  float* u = nullptr;
  SharedScratch scaled_u;
  BlockedGemm u_gemm;
  ChunkGemms y_gemms;
};

absl::StatusOr<CpuProgram> PrepareGemmLinear(const CpuCall& call, CpuCompiler& compiler) {
  const GemmType type = compiler.weight_products();
  const CpuInput x = call.inputs[0];
  const CpuOutput y = call.outputs[0];
  const int64_t tokens = x.rows();
  const Operand x_operand(x, type, compiler);
  const BypassInput bypass_x(x, CallDropout::Of(call, kDropoutKeyInput), compiler);
  const WeightChunks weight(call.inputs[1], type, 0, compiler);
  GemmLibrary& gemms = compiler.gemms();

  struct Plan {
    ChunkGemms y_gemms;
    std::optional<LoraForward> lora;
  };
  auto plan = std::make_shared<Plan>();  // shared: CpuProgram must be copyable
  std::optional<LoraFactors> factors = LoraFactors::Of(call);
  if (factors) {
    const int64_t rank = factors->a.rows();
    LoraForward& lora = plan->lora.emplace();
    lora.factors = *factors;
    lora.u = call.outputs[1].f32();
    lora.scaled_u = compiler.ReserveShared(tokens * rank * 4);
    CHOIR_ASSIGN_OR_RETURN(lora.u_gemm, BlockedGemm::Create(gemms,
                                                            {.m = tokens,
                                                             .n = rank,
                                                             .k = x.cols(),
                                                             .lda = x.cols(),
                                                             .ldb = x.cols(),
                                                             .ldc = rank,
                                                             .transpose_b = true},
                                                            kThinBlockRows, rank));
  }
  for (const bool last : {false, true}) {
    const int64_t rows = weight.Rows(last ? weight.num_chunks() - 1 : 0);
    const GemmShape shape{.m = tokens,
                          .n = rows,
                          .k = x.cols(),
                          .lda = x.cols(),
                          .ldb = x.cols(),
                          .ldc = y.cols(),
                          .transpose_b = true,
                          .type = type};
    CHOIR_ASSIGN_OR_RETURN(plan->y_gemms[last],
                           BlockedGemm::Create(gemms, shape, kBlockRows, BlockColumns(rows)));
    if (!factors) continue;
    const int64_t rank = factors->a.rows();
    GemmShape bypass = shape;
    bypass.k = bypass.lda = bypass.ldb = rank;
    bypass.accumulate = true;
    bypass.type = GemmType::kF32;
    CHOIR_ASSIGN_OR_RETURN(plan->lora->y_gemms[last],
                           BlockedGemm::Create(gemms, bypass, kBlockRows, BlockColumns(rows)));
  }

  return [=](CpuRun& run) {
    const LoraForward* const lora = plan->lora ? &*plan->lora : nullptr;
    float* scaled_u = nullptr;
    if (lora != nullptr) {
      const float* const dropped_x = bypass_x.Prepare(run);
      run.ParallelFor(lora->u_gemm.num_blocks(), [&](int64_t block, int worker) {
        lora->u_gemm.RunBlock(block, worker, dropped_x, lora->factors.a.data, lora->u);
      });
      scaled_u = run.Get<float>(lora->scaled_u);
      ScaleVector(lora->u, lora->factors.scale, scaled_u,
                  static_cast<size_t>(tokens * lora->factors.a.rows()));
    }
    const void* const x_data = x_operand.Prepare(run);
    for (int64_t chunk = 0; chunk < weight.num_chunks(); ++chunk) {
      const bool last = chunk + 1 == weight.num_chunks();
      const void* const w_data = weight.Prepare(chunk, run);
      const int64_t begin = weight.Begin(chunk);
      run.ParallelFor(plan->y_gemms[last].num_blocks(), [&](int64_t block, int worker) {
        plan->y_gemms[last].RunBlock(block, worker, x_data, w_data, y.f32() + begin);
        if (lora == nullptr) return;
        const float* const b = lora->factors.b.f32() + begin * lora->factors.b.cols();
        lora->y_gemms[last].RunBlock(block, worker, scaled_u, b, y.f32() + begin);
      });
    }
    return absl::OkStatus();
  };
}

absl::StatusOr<CpuProgram> PrepareLinear(const CpuCall& call, CpuCompiler& compiler) {
  if (WantsDots(call)) return PrepareDotLinear(call, compiler);
  return PrepareGemmLinear(call, compiler);
}

// dx = dy W, summed chunk by chunk over the rows of W, then + v A.
struct BackwardPlan {
  BlockedGemm first;  // the first chunk: overwrites dx, or adds to what was accumulated
  BlockedGemm middle;
  BlockedGemm last;
  std::optional<LoraFactors> lora;
  BlockedGemm v_gemm;
  BlockedGemm bypass;
  // With dropout v A goes into scratch first, and from there through the mask.
  std::optional<CallDropout> dropout;
  SharedScratch bypass_gradient;
};

absl::Status MakeChunkProducts(const CpuInput& dy, const CpuOutput& dx, const WeightChunks& weight,
                               bool accumulate, CpuCompiler& compiler, BackwardPlan& plan) {
  GemmShape shape{.m = dy.rows(),
                  .n = dx.cols(),
                  .k = weight.Rows(0),
                  .lda = dy.cols(),
                  .ldb = dx.cols(),
                  .ldc = dx.cols(),
                  .accumulate = accumulate,
                  .type = compiler.weight_products()};
  const int64_t columns = BlockColumns(dx.cols());
  GemmLibrary& gemms = compiler.gemms();
  CHOIR_ASSIGN_OR_RETURN(plan.first, BlockedGemm::Create(gemms, shape, kBlockRows, columns));
  if (weight.num_chunks() == 1) return absl::OkStatus();
  shape.accumulate = true;
  CHOIR_ASSIGN_OR_RETURN(plan.middle, BlockedGemm::Create(gemms, shape, kBlockRows, columns));
  shape.k = weight.Rows(weight.num_chunks() - 1);
  CHOIR_ASSIGN_OR_RETURN(plan.last, BlockedGemm::Create(gemms, shape, kBlockRows, columns));
  return absl::OkStatus();
}

absl::Status MakeLoraProducts(const CpuInput& dy, const CpuOutput& dx, CpuCompiler& compiler,
                              BackwardPlan& plan) {
  const int64_t rank = plan.lora->a.rows();
  const GemmShape v{
      .m = dy.rows(), .n = rank, .k = dy.cols(), .lda = dy.cols(), .ldb = rank, .ldc = rank};
  CHOIR_ASSIGN_OR_RETURN(plan.v_gemm,
                         BlockedGemm::Create(compiler.gemms(), v, kThinBlockRows, rank));
  const GemmShape bypass{.m = dy.rows(),
                         .n = dx.cols(),
                         .k = rank,
                         .lda = rank,
                         .ldb = dx.cols(),
                         .ldc = dx.cols(),
                         .accumulate = !plan.dropout.has_value()};
  if (plan.dropout) {
    plan.bypass_gradient = compiler.ReserveShared(dx.desc.shape.NumElements() * 4);
  }
  CHOIR_ASSIGN_OR_RETURN(plan.bypass, BlockedGemm::Create(compiler.gemms(), bypass, kBlockRows,
                                                          BlockColumns(dx.cols())));
  return absl::OkStatus();
}

// dx += drop(v A).
void AddDroppedBypass(const BackwardPlan& plan, const float* v, const CpuOutput& dx, CpuRun& run) {
  auto* const gradient = run.Get<float>(plan.bypass_gradient);
  run.ParallelFor(plan.bypass.num_blocks(), [&](int64_t block, int worker) {
    plan.bypass.RunBlock(block, worker, v, plan.lora->a.data, gradient);
  });
  const DropoutMask mask = plan.dropout->Mask();
  run.ParallelRanges(dx.rows(), 4, [&](int64_t begin, int64_t end, int) {
    for (int64_t row = begin; row < end; ++row) {
      const int64_t at = row * dx.cols();
      AddDroppedRow(mask, row, gradient + at, dx.f32() + at, static_cast<size_t>(dx.cols()));
    }
  });
}

absl::StatusOr<CpuProgram> PrepareLinearBackward(const CpuCall& call, CpuCompiler& compiler) {
  const CpuInput dy = call.inputs[0];
  const CpuOutput dx = call.outputs[0];
  const bool accumulate = call.attrs.IntOr("accumulate", 0) != 0;
  const float* const acc = accumulate ? call.inputs.back().f32() : nullptr;
  auto plan = std::make_shared<BackwardPlan>();  // shared: CpuProgram must be copyable
  plan->lora = LoraFactors::Of(call);
  plan->dropout = CallDropout::Of(call, kDropoutKeyInput);
  const Operand dy_operand(dy, compiler.weight_products(), compiler);
  const WeightChunks weight(call.inputs[1], compiler.weight_products(), 0, compiler);
  CHOIR_RETURN_IF_ERROR(MakeChunkProducts(dy, dx, weight, accumulate, compiler, *plan));
  if (plan->lora) CHOIR_RETURN_IF_ERROR(MakeLoraProducts(dy, dx, compiler, *plan));
  float* const v = plan->lora ? call.outputs[1].f32() : nullptr;

  return [=](CpuRun& run) {
    if (acc != nullptr) {
      std::memcpy(dx.f32(), acc, static_cast<size_t>(dx.desc.shape.NumElements()) * sizeof(float));
    }
    if (v != nullptr) {
      run.ParallelFor(plan->v_gemm.num_blocks(), [&](int64_t block, int worker) {
        plan->v_gemm.RunBlock(block, worker, dy.data, plan->lora->b.data, v);
      });
      ScaleVector(v, plan->lora->scale, v, static_cast<size_t>(dy.rows() * plan->lora->a.rows()));
    }
    const auto* const dy_data = static_cast<const uint8_t*>(dy_operand.Prepare(run));
    const int64_t element_bytes = ElementBytes(dy_operand.type());
    for (int64_t chunk = 0; chunk < weight.num_chunks(); ++chunk) {
      const bool last = chunk + 1 == weight.num_chunks();
      const BlockedGemm& gemm = chunk == 0 ? plan->first : last ? plan->last : plan->middle;
      const void* const w_data = weight.Prepare(chunk, run);
      const void* const a = dy_data + weight.Begin(chunk) * element_bytes;
      run.ParallelFor(gemm.num_blocks(), [&](int64_t block, int worker) {
        gemm.RunBlock(block, worker, a, w_data, dx.f32());
        if (last && v != nullptr && !plan->dropout) {
          plan->bypass.RunBlock(block, worker, v, plan->lora->a.data, dx.f32());
        }
      });
    }
    if (plan->dropout) AddDroppedBypass(*plan, v, dx, run);
    return absl::OkStatus();
  };
}

}  // namespace

const CpuKernel kLinearCpuKernel = {PrepareLinear};
const CpuKernel kLinearBackwardCpuKernel = {PrepareLinearBackward};

}  // namespace choir::engine
