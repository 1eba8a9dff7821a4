// What privacy noise costs a node: rounding and noise of a vector of 1 M values, by mechanism and
// by the size of the grid (words of 16 or 32 bits).
#include <vector>

#include <benchmark/benchmark.h>

#include "secure-agg/core/codec.h"

namespace choir::secagg {
namespace {

constexpr uint64_t kValues = 1'000'000;

void EncodeWithNoise(benchmark::State& state) {
  CodecParams params;
  params.delta_length = kValues;
  params.word_bits = static_cast<uint32_t>(state.range(1));
  params.value_bits = params.word_bits - 5;
  params.min_cohort = 8;
  params.max_cohort = 32;
  params.assured = 22;
  const auto mechanism = static_cast<NoiseMechanism>(state.range(0));
  if (mechanism != NoiseMechanism::kNone) params.privacy = {mechanism, 1, 1e-5, 0};
  state.SetLabel(std::string(privacy::MechanismName(mechanism)));
  const std::vector<float> delta(kValues, 1e-4F);
  const ClientValues values{delta, 1, 0, 0, {}};
  const SecretBytes<32> seed(std::array<uint8_t, 32>{1});
  for (auto _ : state) {
    const auto packed = EncodeValues(params, values, seed);
    if (!packed.ok()) {
      state.SkipWithError(std::string(packed.status().message()).c_str());
      return;
    }
    benchmark::DoNotOptimize(packed->data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kValues));
}
BENCHMARK(EncodeWithNoise)->ArgsProduct({{0, 1, 2, 3}, {16, 32}})->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace choir::secagg
