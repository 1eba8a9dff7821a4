#include "engine/backend/vulkan/kernels/product_trials.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

#include "base/status_macros.h"
#include "engine/backend/vulkan/kernels/product_emit.h"
#include "engine/backend/vulkan/pacer.h"
#include "engine/backend/vulkan/program.h"
#include "engine/quant/weight_format.h"

namespace choir::engine::vulkan {
namespace {

// Of one product's tensors while it is tried: small beside any model.
constexpr uint64_t kMaxBytes = 64u << 20;

// Of that, for alignment, row scales and packed vectors.
constexpr int64_t kSpareBytes = 4 << 20;

// After one run that compiles and warms up. The fastest counts: others' work only makes runs
// slower.
constexpr int kRuns = 3;

// A product is repeated until a run has so much work, or a device's time would not tell it from
// the time to start it.
constexpr double kEnoughWork = 2e8;
constexpr double kMostRepeats = 32;

// The small product: no whole number of tiles or of rows in a workgroup, whole blocks of every
// format, more steps than one.
constexpr int64_t kTokens = 70;
constexpr int64_t kRows = 150;
constexpr int64_t kCols = 512;
constexpr int64_t kRank = 5;

// Tensors one after the other in one buffer, and commands over them.
class Trial {
 public:
  explicit Trial(const KernelContext& context) : context_(context.Apart(buffers_)) {}

  KernelContext& context() { return context_; }

  TensorView Tensor(const Shape& shape) { return context_.Scratch(shape.rows, shape.cols); }
  // The rows of a weight of this shape and format.
  RowTile Tile(const TensorDesc& weight) {
    const auto bytes = static_cast<uint64_t>(SizeBytes(weight));
    const TensorView words = context_.Scratch(1, static_cast<int64_t>(bytes / 4 + 1));
    return {0, weight.shape.rows, {words.buffer, 0, words.offset_bytes, bytes}};
  }

  // Makes the memory, zero-filled, and makes the commands ready to run, each `repeats` times.
  absl::Status Prepare(int repeats) {
    const DeviceCaps& caps = context_.caps();
    const uint64_t bytes = context_.scratch_bytes() + VulkanBuffer::kSlackBytes;
    if (bytes > kMaxBytes) return absl::ResourceExhaustedError("too large to try");
    CHOIR_ASSIGN_OR_RETURN(
        memory_, VulkanBuffer::Create(context_.device(), bytes, MemoryUsage::kDevice, false,
                                      caps.max_allocation_bytes));
    buffers_.Set(BufferTable::kWorkspace, memory_);
    std::vector<Command> commands;
    for (int i = 0; i < repeats; ++i) {
      commands.insert(commands.end(), context_.commands().begin(), context_.commands().end());
    }
    CHOIR_ASSIGN_OR_RETURN(program_,
                           Program::Create(*context_.device(), buffers_, std::move(commands), {}));
    return absl::OkStatus();
  }

  absl::Status Write(uint64_t offset, std::span<const uint8_t> bytes) {
    return memory_->Write(offset, bytes);
  }
  absl::Status Write(const TensorView& tensor, const std::vector<float>& values) {
    return Write(tensor.offset_bytes, BytesOf(std::span(values)));
  }
  absl::StatusOr<std::vector<float>> Read(const TensorView& tensor) {
    std::vector<float> values(static_cast<size_t>(tensor.desc.shape.NumElements()));
    CHOIR_RETURN_IF_ERROR(memory_->Read(tensor.offset_bytes, MutableBytesOf(std::span(values))));
    return values;
  }

  absl::StatusOr<double> Run() {
    Pacer pacer(context_.caps().type, std::numeric_limits<double>::max());
    const auto start = std::chrono::steady_clock::now();
    CHOIR_RETURN_IF_ERROR(program_->Run(pacer));
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    return took.count();
  }

 private:
  BufferTable buffers_;
  KernelContext context_;
  std::shared_ptr<VulkanBuffer> memory_;  // shared with buffers_
  std::unique_ptr<Program> program_;
};

absl::StatusOr<double> FastestRun(Trial& trial, double work) {
  const double repeats = std::clamp(kEnoughWork / work, 1.0, kMostRepeats);
  CHOIR_RETURN_IF_ERROR(trial.Prepare(static_cast<int>(repeats)));
  CHOIR_RETURN_IF_ERROR(trial.Run().status());
  double fastest = std::numeric_limits<double>::max();
  for (int run = 0; run < kRuns; ++run) {
    CHOIR_ASSIGN_OR_RETURN(const double seconds, trial.Run());
    fastest = std::min(fastest, seconds / std::floor(repeats));
  }
  return fastest;
}

// Rows of the weight that a product of `tokens` tokens is timed with: all `rows` of them, or as
// many whole tiles as there is room for, which tells as much. `fixed`: f32 elements of the tensors
// that have nothing to do with these rows.
int64_t RowsToTime(const TensorView& weight, int64_t rows, int64_t tokens, int64_t rank,
                   int64_t fixed) {
  constexpr int64_t kWholeTiles = 128;
  const int64_t row_bytes = SizeBytes(weight.desc) / weight.desc.shape.rows;
  const int64_t bytes = row_bytes + 4 * (tokens + rank);
  const int64_t room = static_cast<int64_t>(kMaxBytes) - kSpareBytes - 4 * fixed;
  if (rows * bytes <= room) return rows;
  return std::max<int64_t>(room / bytes / kWholeTiles * kWholeTiles, 1);
}

// Numbers in [-1, 1), the same ones each time.
class Numbers {
 public:
  std::vector<float> Take(const Shape& shape) {
    std::vector<float> values(static_cast<size_t>(shape.NumElements()));
    for (float& value : values) {
      state_ = state_ * 1664525u + 1013904223u;
      value = static_cast<float>(state_ >> 8) / static_cast<float>(1 << 23) - 1;
    }
    return values;
  }
  // Row i times 2^-(i mod 41), or 2^-40 would be beyond fp16's range many times.
  std::vector<float> TakeUneven(const Shape& shape) {
    std::vector<float> values = Take(shape);
    const auto cols = static_cast<size_t>(shape.cols);
    for (size_t i = 0; i < values.size(); ++i) {
      values[i] = std::ldexp(values[i], -static_cast<int>(i / cols % 41));
    }
    return values;
  }

 private:
  uint32_t state_ = 1;
};

absl::Status WriteWeight(Trial& trial, const RowTile& tile, const TensorDesc& desc,
                         Numbers& numbers) {
  const WeightFormat& format = desc.dtype == DType::kWeight ? *desc.format : kF32Format;
  if (format.quantize_row == nullptr) return absl::UnimplementedError("nothing to try it with");
  const std::vector<float> values = numbers.Take(desc.shape);
  const auto cols = static_cast<size_t>(desc.shape.cols);
  std::vector<uint8_t> row(format.RowBytes(cols));
  for (size_t i = 0; i < static_cast<size_t>(tile.rows); ++i) {
    format.quantize_row(std::span(values).subspan(i * cols, cols), row);
    CHOIR_RETURN_IF_ERROR(trial.Write(tile.range.offset + i * row.size(), row));
  }
  return absl::OkStatus();
}

absl::StatusOr<double> LargestDifference(Trial& trial, const TensorView& got,
                                         const TensorView& want) {
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> tried, trial.Read(got));
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> plain, trial.Read(want));
  const auto cols = static_cast<size_t>(want.desc.shape.cols);
  double worst = 0;
  for (size_t row = 0; row < plain.size(); row += cols) {
    double largest = 0;
    double difference = 0;
    for (size_t i = row; i < row + cols; ++i) {
      if (!std::isfinite(tried[i])) return std::numeric_limits<double>::infinity();
      largest = std::max(largest, static_cast<double>(std::abs(plain[i])));
      difference = std::max(difference, static_cast<double>(std::abs(tried[i] - plain[i])));
    }
    worst = std::max(worst, difference / largest);
  }
  return worst;
}

TensorView Shaped(const TensorView& like, const Shape& shape) {
  TensorView view = like;
  view.desc.shape = shape;
  return view;
}

constexpr Block kPlainBlock{4, 4};

}  // namespace

absl::StatusOr<double> NtTrials::Seconds(const Choice& choice) {
  Trial trial(*context_);
  const NtProduct& like = *product_;
  const bool lora = like.u != nullptr;
  const int64_t rank = lora ? like.u->desc.shape.cols : 0;
  const Shape from = like.x.desc.shape;
  const int64_t rows = RowsToTime(like.weight, like.tile.rows, from.rows, rank,
                                  from.NumElements() + from.rows * rank);
  const TensorView x = trial.Tensor(from);
  const TensorView y = trial.Tensor({x.desc.shape.rows, rows});
  const TensorView u = trial.Tensor({x.desc.shape.rows, std::max<int64_t>(rank, 1)});
  const TensorView b = trial.Tensor({rows, std::max<int64_t>(rank, 1)});
  const TensorView weight = Shaped(like.weight, {rows, like.weight.desc.shape.cols});
  const NtProduct product{.x = x,
                          .weight = weight,
                          .tile = trial.Tile(weight.desc),
                          .u = lora ? &u : nullptr,
                          .b = lora ? &b : nullptr,
                          .beta = like.beta,
                          .y = y,
                          .first_column = 0};
  CHOIR_RETURN_IF_ERROR(EmitBy(trial.context(), product, choice));
  return FastestRun(trial, WorkOf(product));
}

absl::StatusOr<double> NtTrials::Difference(const Choice& choice) {
  Trial trial(*context_);
  const bool few = IsFew(*product_);
  const int64_t tokens = few ? product_->x.desc.shape.rows : kTokens;
  const TensorView x = trial.Tensor({tokens, kCols});
  const TensorView u = trial.Tensor({tokens, kRank});
  const TensorView b = trial.Tensor({kRows, kRank});
  const TensorView weight = Shaped(product_->weight, {kRows, kCols});
  const RowTile tile = trial.Tile(weight.desc);
  // Without and with an adapter, whose part must not hide a wrong one of the weight's.
  const TensorView got[2] = {trial.Tensor({tokens, kRows}), trial.Tensor({tokens, kRows})};
  const TensorView want[2] = {trial.Tensor({tokens, kRows}), trial.Tensor({tokens, kRows})};
  for (const int lora : {0, 1}) {
    for (const bool plain : {true, false}) {
      const NtProduct product{.x = x,
                              .weight = weight,
                              .tile = tile,
                              .u = lora == 1 ? &u : nullptr,
                              .b = lora == 1 ? &b : nullptr,
                              .beta = 0.5f,
                              .y = plain ? want[lora] : got[lora],
                              .first_column = 0};
      const Choice plain_choice{ProductWay::kPlain, few ? choice.block : kPlainBlock};
      CHOIR_RETURN_IF_ERROR(EmitBy(trial.context(), product, plain ? plain_choice : choice));
    }
  }
  CHOIR_RETURN_IF_ERROR(trial.Prepare(1));
  Numbers numbers;
  CHOIR_RETURN_IF_ERROR(trial.Write(x, numbers.TakeUneven(x.desc.shape)));
  CHOIR_RETURN_IF_ERROR(trial.Write(u, numbers.TakeUneven(u.desc.shape)));
  CHOIR_RETURN_IF_ERROR(trial.Write(b, numbers.Take(b.desc.shape)));
  CHOIR_RETURN_IF_ERROR(WriteWeight(trial, tile, weight.desc, numbers));
  CHOIR_RETURN_IF_ERROR(trial.Run().status());
  CHOIR_ASSIGN_OR_RETURN(const double bare, LargestDifference(trial, got[0], want[0]));
  CHOIR_ASSIGN_OR_RETURN(const double adapted, LargestDifference(trial, got[1], want[1]));
  return std::max(bare, adapted);
}

absl::StatusOr<double> NnTrials::Seconds(const Choice& choice) {
  Trial trial(*context_);
  const NnProduct& like = *product_;
  const bool lora = like.v != nullptr;
  const int64_t rank = lora ? like.v->desc.shape.cols : 1;
  const Shape to = like.dx.desc.shape;
  const int64_t rows = RowsToTime(like.weight, like.tile.rows, to.rows, 0,
                                  to.NumElements() + rank * (to.rows + to.cols));
  const TensorView dx = trial.Tensor(to);
  const TensorView dy = trial.Tensor({to.rows, rows});
  const TensorView v = trial.Tensor({to.rows, rank});
  const TensorView a = trial.Tensor({rank, to.cols});
  const TensorView weight = Shaped(like.weight, {rows, to.cols});
  const NnProduct product{.dy = dy,
                          .first_column = 0,
                          .weight = weight,
                          .tile = trial.Tile(weight.desc),
                          .alpha = like.alpha,
                          .v = lora ? &v : nullptr,
                          .a = lora ? &a : nullptr,
                          .acc = like.acc == nullptr ? nullptr : &dx,
                          .dx = dx};
  CHOIR_RETURN_IF_ERROR(EmitBy(trial.context(), product, choice));
  return FastestRun(trial, WorkOf(product));
}

absl::StatusOr<double> NnTrials::Difference(const Choice& choice) {
  Trial trial(*context_);
  const TensorView dy = trial.Tensor({kTokens, kRows});
  const TensorView v = trial.Tensor({kTokens, kRank});
  const TensorView a = trial.Tensor({kRank, kCols});
  const TensorView acc = trial.Tensor({kTokens, kCols});
  const TensorView weight = Shaped(product_->weight, {kRows, kCols});
  const RowTile tile = trial.Tile(weight.desc);
  const TensorView got[2] = {trial.Tensor({kTokens, kCols}), trial.Tensor({kTokens, kCols})};
  const TensorView want[2] = {trial.Tensor({kTokens, kCols}), trial.Tensor({kTokens, kCols})};
  for (const int all : {0, 1}) {
    for (const bool plain : {true, false}) {
      const NnProduct product{.dy = dy,
                              .first_column = 0,
                              .weight = weight,
                              .tile = tile,
                              .alpha = 0.5f,
                              .v = all == 1 ? &v : nullptr,
                              .a = all == 1 ? &a : nullptr,
                              .acc = all == 1 ? &acc : nullptr,
                              .dx = plain ? want[all] : got[all]};
      const Choice plain_choice{ProductWay::kPlain, kPlainBlock};
      CHOIR_RETURN_IF_ERROR(EmitBy(trial.context(), product, plain ? plain_choice : choice));
    }
  }
  CHOIR_RETURN_IF_ERROR(trial.Prepare(1));
  Numbers numbers;
  CHOIR_RETURN_IF_ERROR(trial.Write(dy, numbers.TakeUneven(dy.desc.shape)));
  CHOIR_RETURN_IF_ERROR(trial.Write(v, numbers.TakeUneven(v.desc.shape)));
  CHOIR_RETURN_IF_ERROR(trial.Write(a, numbers.Take(a.desc.shape)));
  CHOIR_RETURN_IF_ERROR(trial.Write(acc, numbers.TakeUneven(acc.desc.shape)));
  CHOIR_RETURN_IF_ERROR(WriteWeight(trial, tile, weight.desc, numbers));
  CHOIR_RETURN_IF_ERROR(trial.Run().status());
  CHOIR_ASSIGN_OR_RETURN(const double bare, LargestDifference(trial, got[0], want[0]));
  CHOIR_ASSIGN_OR_RETURN(const double adapted, LargestDifference(trial, got[1], want[1]));
  return std::max(bare, adapted);
}

}  // namespace choir::engine::vulkan
