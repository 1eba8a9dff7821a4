#include "engine/backend/cpu/linear_dots.h"

#include <algorithm>
#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "engine/backend/cpu/block_dots.h"
#include "engine/backend/cpu/dropout.h"
#include "engine/backend/cpu/lora_factors.h"
#include "engine/backend/cpu/row_products.h"
#include "engine/backend/cpu/vector_math.h"
#include "engine/backend/cpu/weight_chunks.h"

namespace choir::engine {
namespace {

constexpr int64_t kMaxTokens = 4;

// What a thread takes of W at a time: a few microseconds' worth.
constexpr int64_t kStepBytes = int64_t{48} << 10;
// What is multiplied with every token before going on: it stays in the first-level cache.
constexpr int64_t kGroupBytes = int64_t{8} << 10;

int64_t RowBytes(const CpuInput& weight) {
  return static_cast<int64_t>(weight.desc.format->RowBytes(static_cast<size_t>(weight.cols())));
}

// Gives each thread a stretch of rows of its own, which memory delivers better than steps from here
// and there: what is fetched ahead is what comes next. Who has finished takes steps from others'
// stretches, so that a thread that is held up delays nobody.
class RowStretches {
 public:
  RowStretches(int64_t rows, int64_t step) : rows_(rows), step_(step) {}

  // By one thread, before any Run().
  void Begin(int threads) {
    if (stretches_.size() != static_cast<size_t>(threads)) {
      stretches_ = std::vector<Stretch>(static_cast<size_t>(threads));
    }
    for (int64_t i = 0; i < threads; ++i) {
      Stretch& stretch = stretches_[static_cast<size_t>(i)];
      stretch.next.store(rows_ * i / threads, std::memory_order_relaxed);
      stretch.end = rows_ * (i + 1) / threads;
    }
  }
  // body(begin, end) for steps of stretch `first`, then for what is left of the others.
  template <typename Body>
  void Run(int64_t first, const Body& body) {
    for (size_t i = 0; i < stretches_.size(); ++i) {
      Stretch& stretch = stretches_[(static_cast<size_t>(first) + i) % stretches_.size()];
      for (;;) {
        const int64_t begin = stretch.next.fetch_add(step_, std::memory_order_relaxed);
        if (begin >= stretch.end) break;
        body(begin, std::min(begin + step_, stretch.end));
      }
    }
  }

 private:
  struct alignas(64) Stretch {
    std::atomic<int64_t> next{0};
    int64_t end = 0;
  };

  int64_t rows_;
  int64_t step_;
  std::vector<Stretch> stretches_;
};

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
                                                           : DotPrecision::kShort),
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
  const CpuInput& weight = call.inputs[1];
  const auto stretches = std::make_shared<RowStretches>(
      weight.rows(), std::max<int64_t>(1, kStepBytes / RowBytes(weight)));
  return [=](CpuRun& run) {
    rows->PrepareTokens(run);
    if (bypass) bypass->MakeU(run);
    stretches->Begin(run.num_threads());
    run.ParallelFor(run.num_threads(), [&](int64_t stretch, int worker) {
      stretches->Run(stretch, [&](int64_t begin, int64_t end) {
        rows->Run(begin, end, worker, run);
        if (bypass) bypass->AddTo(begin, end);
      });
    });
    return absl::OkStatus();
  };
}

}  // namespace choir::engine
