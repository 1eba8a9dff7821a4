// The CPU's inner loops one by one, in one thread: dot products with rows of a weight and their
// conversion, by format, from memory and from the cache; matrix products by format and rows.
#include <map>
#include <span>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "engine/backend/cpu/aligned_bytes.h"
#include "engine/backend/cpu/block_dots.h"
#include "engine/backend/cpu/cpu_backend.h"
#include "engine/backend/cpu/dequantize.h"
#include "engine/graph/graph.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr int64_t kCols = 2048;
constexpr int64_t kRowsInCache = 64;
constexpr int64_t kRowsInMemory = 65536;

constexpr const WeightFormat* kFormats[] = {&kF32Format,  &kBF16Format,  &kF16Format,
                                            &kQ8_0Format, &kQ6_KFormat,  &kQ4_KFormat,
                                            &kQ4_0Format, &kTQ2_0Format, &kTQ1_0Format};

std::vector<float> Values(int64_t count) {
  std::vector<float> values(static_cast<size_t>(count));
  uint32_t seed = 1;
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / 8388608.0F - 1.0F;
  }
  return values;
}

// Rows that repeat every 64.
std::vector<uint8_t> WeightRowsOf(const WeightFormat& format, int64_t rows) {
  const size_t some = format.RowBytes(kRowsInCache * kCols);
  std::vector<uint8_t> blocks(format.RowBytes(static_cast<size_t>(rows * kCols)));
  format.quantize_row(Values(kRowsInCache * kCols), std::span(blocks).first(some));
  for (size_t at = some; at < blocks.size(); ++at) blocks[at] = blocks[at - some];
  return blocks;
}

void CountWeights(benchmark::State& state, int64_t rows, size_t bytes) {
  state.SetItemsProcessed(state.iterations() * rows * kCols);
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes));
}

// Arguments: format, bits of the vector (16, or 31 for f32's precision), rows.
void RowDots(benchmark::State& state) {
  const WeightFormat& format = *kFormats[state.range(0)];
  const bool exact = state.range(1) == 31;
  const int64_t rows = state.range(2);
  const std::vector<uint8_t> blocks = WeightRowsOf(format, rows);
  const BlockDots dots(format, kCols, exact ? DotPrecision::k31Bits : DotPrecision::kShort);
  const auto prepared = *AlignedBytes::Allocate(static_cast<uint64_t>(dots.prepared_bytes()));
  const std::vector<float> x = Values(kCols);
  std::vector<float> out(static_cast<size_t>(rows));
  for (auto _ : state) {
    dots.Prepare(x.data(), prepared.data());
    dots.Run(prepared.data(), blocks.data(), rows, out.data());
    benchmark::DoNotOptimize(out.data());
  }
  CountWeights(state, rows, blocks.size());
  state.SetLabel(std::string(format.name));
}
BENCHMARK(RowDots)->ArgsProduct({benchmark::CreateDenseRange(0, std::size(kFormats) - 1, 1),
                                 {16, 31},
                                 {kRowsInCache, kRowsInMemory}});

// What a product pays once for each vector.
void PrepareVector(benchmark::State& state) {
  const WeightFormat& format = *kFormats[state.range(0)];
  const bool exact = state.range(1) == 31;
  const BlockDots dots(format, kCols, exact ? DotPrecision::k31Bits : DotPrecision::kShort);
  const auto prepared = *AlignedBytes::Allocate(static_cast<uint64_t>(dots.prepared_bytes()));
  const std::vector<float> x = Values(kCols);
  for (auto _ : state) {
    dots.Prepare(x.data(), prepared.data());
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations() * kCols);
  state.SetLabel(std::string(format.name));
}
BENCHMARK(PrepareVector)
    ->ArgsProduct({benchmark::CreateDenseRange(0, std::size(kFormats) - 1, 1), {16, 31}});

// Arguments: format, to bf16 or not.
void Dequantize(benchmark::State& state) {
  const WeightFormat& format = *kFormats[state.range(0)];
  const std::vector<uint8_t> blocks = WeightRowsOf(format, kRowsInCache);
  const RowDequantizer to_f32 = RowDequantizerOf(format);
  const RowRounder to_bf16 = RowRounderOf(format);
  if (state.range(1) == 1 && to_bf16 == nullptr) {
    state.SkipWithError("goes to bf16 by way of f32");
    return;
  }
  std::vector<float> f32(kRowsInCache * kCols);
  std::vector<uint16_t> bf16(kRowsInCache * kCols);
  for (auto _ : state) {
    if (state.range(1) == 1) {
      to_bf16(blocks, bf16);
    } else {
      to_f32(blocks, f32);
    }
    benchmark::ClobberMemory();
  }
  CountWeights(state, kRowsInCache, blocks.size());
  state.SetLabel(std::string(format.name));
}
BENCHMARK(Dequantize)
    ->ArgsProduct({benchmark::CreateDenseRange(0, std::size(kFormats) - 1, 1), {0, 1}});

// A linear layer of 2048 x 2048. Arguments: format, tokens, threads, bf16 products or not.
void Linear(benchmark::State& state) {
  const WeightFormat& format = *kFormats[state.range(0)];
  const int64_t tokens = state.range(1);
  const auto backend = CreateCpuBackend(static_cast<int>(state.range(2)));
  const std::vector<uint8_t> blocks = WeightRowsOf(format, kCols);
  Graph graph;
  const TensorId x = graph.AddInput("x", F32(tokens, kCols));
  const TensorId w = graph.AddPersistent("w", Weight(&format, kCols, kCols));
  const auto y = graph.AddNode("linear", {x, w}, {{"lora", 0}});
  graph.MarkOutput((*y)[0]);
  const auto executable =
      (*backend)->Compile(graph, {{w, {*(*backend)->WrapWeights(blocks)}}},
                          {.compute = state.range(3) == 1 ? Compute::kAuto : Compute::kF32});
  const std::vector<float> values = Values(tokens * kCols);
  if (!executable.ok() || !(*executable)->WriteInput(x, BytesOf(std::span(values))).ok()) {
    state.SkipWithError("the linear layer does not compile");
    return;
  }
  for (auto _ : state) {
    if (!(*executable)->Run().ok()) state.SkipWithError("the linear layer does not run");
  }
  state.counters["FLOP/s"] =
      benchmark::Counter(2.0 * static_cast<double>(state.iterations() * tokens * kCols * kCols),
                         benchmark::Counter::kIsRate);
  state.SetLabel(std::string(format.name));
}
BENCHMARK(Linear)
    ->ArgsProduct({benchmark::CreateDenseRange(0, std::size(kFormats) - 1, 1),
                   {1, 2, 4, 5, 8, 16, 64, 256},
                   {1},
                   {0, 1}})
    ->Unit(benchmark::kMicrosecond)
    ->UseRealTime();

}  // namespace
}  // namespace choir::engine
