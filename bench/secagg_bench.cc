#include <vector>

#include <benchmark/benchmark.h>

#include "base/secret.h"
#include "secure-agg/core/codec.h"
#include "secure-agg/core/masking.h"
#include "secure-agg/core/shamir.h"

// One node's work in a cohort of 100 with a million 32-bit words, against the bare key stream: how
// much of the time is the mask generator itself. One thread. bytes_per_second counts mask bytes.
namespace choir::secagg {
namespace {

constexpr size_t kWords = 1'000'000;
constexpr uint8_t kPeers = 100;

SecretBytes<32> Key(uint8_t number) {
  return SecretBytes<32>(std::array<uint8_t, 32>{number});
}

void BM_KeyStream(benchmark::State& state) {
  std::vector<uint8_t> block(24576);
  MaskStream stream(static_cast<Prg>(state.range(0)), Key(1));
  for (auto _ : state) {
    stream.Next(block);
    benchmark::DoNotOptimize(block.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(block.size()) * state.iterations());
}
BENCHMARK(BM_KeyStream)->Arg(1)->Arg(2);

void BM_MaskMillionWordsFor100Nodes(benchmark::State& state) {
  std::vector<uint8_t> packed(kWords * 4);
  std::vector<Mask> masks;
  for (uint8_t i = 0; i < kPeers; ++i) masks.push_back({Key(i), i % 2 == 0});
  for (auto _ : state) {
    ApplyMasks(packed, 32, static_cast<Prg>(state.range(0)), masks);
    benchmark::DoNotOptimize(packed.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(packed.size() * kPeers) * state.iterations());
}
BENCHMARK(BM_MaskMillionWordsFor100Nodes)->Arg(1)->Arg(2)->Unit(benchmark::kMillisecond);

void BM_AddInput(benchmark::State& state) {
  const auto bits = static_cast<uint32_t>(state.range(0));
  std::vector<uint8_t> accumulator(kWords * bits / 8);
  const std::vector<uint8_t> input(accumulator.size(), 7);
  for (auto _ : state) {
    AddWords(accumulator, input, bits);
    benchmark::DoNotOptimize(accumulator.data());
  }
  state.SetBytesProcessed(static_cast<int64_t>(input.size()) * state.iterations());
}
BENCHMARK(BM_AddInput)->Arg(16)->Arg(24)->Arg(32);

void BM_EncodeMillionValues(benchmark::State& state) {
  CodecParams params;
  params.delta_length = kWords;
  const std::vector<float> delta(kWords, 0.001F);
  const ClientValues values{delta, 1, 0, 0, {}};
  for (auto _ : state) benchmark::DoNotOptimize(EncodeValues(params, values, Key(1)));
  state.SetItemsProcessed(static_cast<int64_t>(kWords) * state.iterations());
}
BENCHMARK(BM_EncodeMillionValues)->Unit(benchmark::kMillisecond);

void BM_Split100(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(SplitSecret(Key(3), 67, 100, Key(4)));
}
BENCHMARK(BM_Split100)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace choir::secagg

BENCHMARK_MAIN();
