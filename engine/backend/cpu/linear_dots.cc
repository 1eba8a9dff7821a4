#include "engine/backend/cpu/linear_dots.h"

#include <algorithm>
#include <memory>
#include <optional>

#include "engine/backend/cpu/block_dots.h"
#include "engine/backend/cpu/dropout.h"
#include "engine/backend/cpu/lora_factors.h"
#include "engine/backend/cpu/row_products.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/backend/cpu/weight_chunks.h"

namespace choir::engine {
namespace {

constexpr int64_t kMaxTokens = 4;

// What one task reads of W: a sixteenth, so that the last one is not waited for long, but some
// microseconds' worth, so that handing it out costs little.
constexpr int64_t kTasks = 16;
constexpr int64_t kMinTaskBytes = int64_t{48} << 10;
constexpr int64_t kMaxTaskBytes = int64_t{256} << 10;
// What is multiplied with every token before going on: it stays in the first-level cache.
constexpr int64_t kGroupBytes = int64_t{8} << 10;

int64_t RowBytes(const CpuInput& weight) {
  return static_cast<int64_t>(weight.desc.format->RowBytes(static_cast<size_t>(weight.cols())));
}

int64_t TaskRows(const CpuInput& weight) {
  const int64_t row_bytes = RowBytes(weight);
  const int64_t bytes =
      std::clamp(weight.rows() * row_bytes / kTasks, kMinTaskBytes, kMaxTaskBytes);
  return std::max<int64_t>(1, bytes / row_bytes);
}

// y = x W^T, rows of W in [begin, end).
class RowRange {
 public:
  virtual ~RowRange() = default;
  virtual void PrepareTokens(CpuRun& /*run*/) const {}
  virtual void Run(int64_t begin, int64_t end, int worker, CpuRun& run) const = 0;
};

// Straight from the blocks.
class BlockRange final : public RowRange {
 public:
  BlockRange(const CpuCall& call, CpuCompiler& compiler)
      : x_(call.inputs[0]),
        weight_(call.inputs[1]),
        y_(call.outputs[0]),
        dots_(*weight_.desc.format, weight_.cols(),
              compiler.weight_products() == GemmType::kF32 ? DotPrecision::k31Bits
                                                           : DotPrecision::k16Bits),
        row_bytes_(RowBytes(weight_)),
        group_rows_(std::max<int64_t>(1, kGroupBytes / row_bytes_)),
        prepared_(compiler.ReserveShared(x_.rows() * dots_.prepared_bytes())) {}

  void PrepareTokens(CpuRun& run) const override {
    run.ParallelFor(x_.rows(), [&](int64_t t, int) {
      dots_.Prepare(x_.f32() + t * x_.cols(), Prepared(t, run));
    });
  }
  void Run(int64_t begin, int64_t end, int /*worker*/, CpuRun& run) const override {
    const int64_t tokens = x_.rows();
    const int64_t group = tokens == 1 ? end - begin : group_rows_;
    for (; begin < end; begin += group) {
      const int64_t rows = std::min(group, end - begin);
      for (int64_t t = 0; t < tokens; ++t) {
        dots_.Run(Prepared(t, run), weight_.data + begin * row_bytes_, rows,
                  y_.f32() + t * y_.cols() + begin);
      }
    }
  }

 private:
  uint8_t* Prepared(int64_t token, CpuRun& run) const {
    return run.Get<uint8_t>(prepared_) + token * dots_.prepared_bytes();
  }

  CpuInput x_;
  CpuInput weight_;
  CpuOutput y_;
  BlockDots dots_;
  int64_t row_bytes_;
  int64_t group_rows_;
  SharedScratch prepared_;
};

// For formats without such a loop: each row as f32 first.
class DequantizedRange final : public RowRange {
 public:
  DequantizedRange(const CpuCall& call, CpuCompiler& compiler)
      : x_(call.inputs[0]),
        y_(call.outputs[0]),
        weight_(call.inputs[1]),
        row_(compiler.ReservePerWorker(x_.cols() * 4)) {}

  void Run(int64_t begin, int64_t end, int worker, CpuRun& run) const override {
    for (int64_t n = begin; n < end; ++n) {
      const float* const row = weight_.Row(n, run.Get<float>(row_, worker));
      for (int64_t t = 0; t < x_.rows(); ++t) {
        y_.f32()[t * y_.cols() + n] =
            DotProduct(x_.f32() + t * x_.cols(), row, static_cast<size_t>(x_.cols()));
      }
    }
  }

 private:
  CpuInput x_;
  CpuOutput y_;
  WeightRows weight_;
  WorkerScratch row_;
};

// u = A x, and y += scale B u.
class Bypass {
 public:
  static std::optional<Bypass> Of(const CpuCall& call, CpuCompiler& compiler) {
    const std::optional<LoraFactors> factors = LoraFactors::Of(call);
    if (!factors) return std::nullopt;
    return Bypass(call, *factors, compiler);
  }
  void MakeU(CpuRun& run) const {
    const float* const x = x_.Prepare(run);
    const int64_t cols = factors_.a.cols();
    const int64_t rank = factors_.rank();
    run.ParallelRanges(rank, 4, [&](int64_t begin, int64_t end, int) {
      for (int64_t t = 0; t < u_.rows(); ++t) {
        DotRows(x + t * cols, factors_.a.f32() + begin * cols, cols, end - begin, cols,
                u_.f32() + t * rank + begin);
      }
    });
  }
  void AddTo(int64_t begin, int64_t end) const {
    const int64_t rank = factors_.rank();
    for (int64_t t = 0; t < u_.rows(); ++t) {
      AddThinProducts(factors_.scale, u_.f32() + t * rank, factors_.b.f32() + begin * rank,
                      end - begin, rank, y_.f32() + t * y_.cols() + begin);
    }
  }

 private:
  Bypass(const CpuCall& call, const LoraFactors& factors, CpuCompiler& compiler)
      : factors_(factors),
        x_(call.inputs[0], CallDropout::Of(call, kDropoutKeyInput), compiler),
        y_(call.outputs[0]),
        u_(call.outputs[1]) {}

  LoraFactors factors_;
  BypassInput x_;
  CpuOutput y_;
  CpuOutput u_;
};

}  // namespace

bool WantsDots(const CpuCall& call) {
  return call.inputs[0].rows() <= kMaxTokens;
}

absl::StatusOr<CpuProgram> PrepareDotLinear(const CpuCall& call, CpuCompiler& compiler) {
  // Shared: a CpuProgram must be copyable.
  std::shared_ptr<const RowRange> rows;
  if (BlockDots::Has(*call.inputs[1].desc.format)) {
    rows = std::make_shared<BlockRange>(call, compiler);
  } else {
    rows = std::make_shared<DequantizedRange>(call, compiler);
  }
  const std::optional<Bypass> bypass = Bypass::Of(call, compiler);
  const int64_t num_rows = call.inputs[1].rows();
  const int64_t task_rows = TaskRows(call.inputs[1]);
  return [=](CpuRun& run) {
    rows->PrepareTokens(run);
    if (bypass) bypass->MakeU(run);
    run.ParallelRanges(num_rows, task_rows, [&](int64_t begin, int64_t end, int worker) {
      rows->Run(begin, end, worker, run);
      if (bypass) bypass->AddTo(begin, end);
    });
    return absl::OkStatus();
  };
}

}  // namespace choir::engine
