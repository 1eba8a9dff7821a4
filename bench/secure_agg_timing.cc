#include "bench/secure_agg_timing.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <cstring>
#include <span>

#include "absl/functional/function_ref.h"

#include "base/random.h"
#include "base/secret.h"
#include "secure-agg/core/masking.h"
#include "secure-agg/core/sealing.h"
#include "secure-agg/core/shamir.h"

namespace choir::bench {
namespace {

using namespace secagg;

struct Sample {
  bool second = false;
  double nanoseconds = 0;
};

// Welch's t over the samples up to a quantile of all: interrupts and other programs are in the
// tail.
double WelchT(const std::vector<Sample>& samples, double limit) {
  std::array<double, 2> count{};
  std::array<double, 2> mean{};
  std::array<double, 2> squares{};
  for (const Sample& sample : samples) {
    if (sample.nanoseconds > limit) continue;
    const size_t kind = sample.second ? 1 : 0;
    count[kind] += 1;
    const double before = sample.nanoseconds - mean[kind];
    mean[kind] += before / count[kind];
    squares[kind] += before * (sample.nanoseconds - mean[kind]);
  }
  const double spread =
      squares[0] / (count[0] - 1) / count[0] + squares[1] / (count[1] - 1) / count[1];
  return spread > 0 ? (mean[0] - mean[1]) / std::sqrt(spread) : 0;
}

// Runs `work` on inputs of the two kinds in random order. Both inputs are made before the clock
// starts, and lie in the same place.
TimingFigure Measure(std::string name, uint64_t measurements,
                     absl::FunctionRef<void(bool second)> prepare, absl::FunctionRef<void()> work) {
  SeededRng rng(7);
  std::vector<Sample> samples(measurements);
  for (Sample& sample : samples) {
    sample.second = rng.NextBelow(2) == 1;
    prepare(sample.second);
    const auto start = std::chrono::steady_clock::now();
    work();
    sample.nanoseconds =
        std::chrono::duration<double, std::nano>(std::chrono::steady_clock::now() - start).count();
  }
  // The first tenth warms caches up.
  samples.erase(samples.begin(), samples.begin() + static_cast<ptrdiff_t>(measurements / 10));
  std::vector<double> times;
  for (const Sample& sample : samples) times.push_back(sample.nanoseconds);
  const auto quantile = times.begin() + static_cast<ptrdiff_t>(times.size() * 9 / 10);
  std::nth_element(times.begin(), quantile, times.end());
  return {std::move(name), WelchT(samples, *quantile), samples.size()};
}

void FillRandom(SeededRng& rng, std::span<uint8_t> out) {
  for (uint8_t& byte : out) byte = static_cast<uint8_t>(rng.NextBelow(256));
}

SecretBytes<32> RandomScalar(SeededRng& rng, bool zero) {
  std::array<uint8_t, 64> wide{};
  FillRandom(rng, wide);
  if (zero) wide.fill(0);
  return ScalarFromBytes(SecretBytes<64>(wide));
}

TimingFigure MeasureSplit(uint64_t measurements) {
  SeededRng rng(1);
  SecretBytes<32> secret;
  const SecretBytes<32> seed(std::array<uint8_t, 32>{1});
  return Measure(
      "split a secret, 7 of 10: zero or random", measurements,
      [&](bool zero) { secret = RandomScalar(rng, zero); },
      [&] { (void)SplitSecret(secret, 7, 10, seed); });
}

TimingFigure MeasureCombine(uint64_t measurements) {
  SeededRng rng(2);
  const std::array<uint32_t, 7> numbers = {1, 2, 3, 4, 5, 6, 7};
  const Interpolator interpolator = Interpolator::Create(numbers).value();
  std::array<SecretBytes<32>, 7> shares;
  std::vector<const SecretBytes<32>*> values;
  for (const SecretBytes<32>& share : shares) values.push_back(&share);
  return Measure(
      "open a secret from 7 shares: zeros or random", measurements,
      [&](bool zero) {
        for (SecretBytes<32>& share : shares) share = RandomScalar(rng, zero);
      },
      [&] { (void)interpolator.Combine(values); });
}

TimingFigure MeasureCanonical(uint64_t measurements) {
  SeededRng rng(3);
  SecretBytes<32> scalar;
  volatile bool sink = false;
  return Measure(
      "check that a share is canonical: zero or random", measurements,
      [&](bool zero) { scalar = RandomScalar(rng, zero); },
      [&] { sink = IsCanonicalScalar(scalar.Expose()); });
}

TimingFigure MeasureCompare(uint64_t measurements, bool leaking) {
  std::array<uint8_t, 1024> a{};
  std::array<uint8_t, 1024> b{};
  volatile bool sink = false;
  return Measure(
      leaking ? "memcmp, which leaks (must be beyond 4.5)"
              : "compare 1 KiB of secrets: first byte wrong or last",
      measurements,
      [&](bool last) {
        b = a;
        b[last ? b.size() - 1 : 0] ^= 1;
      },
      [&] {
        sink = leaking ? std::memcmp(a.data(), b.data(), a.size()) == 0 : EqualConstantTime(a, b);
      });
}

TimingFigure MeasureOpening(uint64_t measurements) {
  const SecretBytes<32> key(std::array<uint8_t, 32>{9});
  const std::vector<uint8_t> context(100, 3);
  const auto good = SealShares(key, {}, context);
  auto sealed = good;
  volatile bool sink = false;
  return Measure(
      "open a sealed share: tag wrong in its first byte or its last", measurements,
      [&](bool last) {
        sealed = good;
        sealed[last ? sealed.size() - 1 : sealed.size() - 16] ^= 1;
      },
      [&] { sink = OpenShares(key, sealed, context).ok(); });
}

TimingFigure MeasureMask(uint64_t measurements) {
  SeededRng rng(4);
  std::vector<uint8_t> packed(4096);
  std::vector<Mask> masks;
  masks.push_back({SecretBytes<32>(std::array<uint8_t, 32>{5}), true});
  return Measure(
      "mask 4 KiB: zeros or random", measurements,
      [&](bool zero) {
        FillRandom(rng, packed);
        if (zero) std::ranges::fill(packed, uint8_t{0});
      },
      [&] { ApplyMasks(packed, 32, Prg::kChaCha20, masks); });
}

}  // namespace

std::vector<TimingFigure> MeasureTiming(uint64_t measurements) {
  return {MeasureSplit(measurements / 4),    MeasureCombine(measurements),
          MeasureCanonical(measurements),    MeasureCompare(measurements, false),
          MeasureOpening(measurements),      MeasureMask(measurements / 4),
          MeasureCompare(measurements, true)};
}

}  // namespace choir::bench
