#ifndef CHOIR_BENCH_INFER_MEASURE_H_
#define CHOIR_BENCH_INFER_MEASURE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "base/clock.h"
#include "bench/op_work.h"
#include "engine/backend/backend.h"
#include "engine/infer/cached_model.h"
#include "engine/model/device_model.h"
#include "engine/model/model.h"

namespace choir::bench {

// What is measured. The references outlive the call.
struct InferSetup {
  const engine::Model& model;
  engine::Backend& backend;
  const engine::DeviceModel& weights;
  engine::Compute compute = engine::Compute::kAuto;
  int64_t prompt_tokens = 0;
  int64_t prompt_batch = 0;  // of them at once
  int64_t new_tokens = 0;
  engine::KvCacheType kv_cache = engine::CachedModelOptions{}.kv_cache;
  const Clock& clock;
};

// What was measured of a generator: runs of its whole prompt, or of one new token each.
struct InferMeasurement {
  int64_t tokens = 0;    // of a run
  double fastest_s = 0;  // of a run
  double mean_s = 0;     // of a run
  Work work;             // of a run
  int64_t batch = 0;     // tokens at once; the profile is of one batch
  uint64_t peak_resident_bytes = 0;
  std::vector<OpProfile> ops;
  std::string chrome_trace;

  [[nodiscard]] double TokensPerSecond() const { return static_cast<double>(tokens) / fastest_s; }
  [[nodiscard]] double MeanTokensPerSecond() const { return static_cast<double>(tokens) / mean_s; }
  [[nodiscard]] double Gflops() const { return work.flops / fastest_s * 1e-9; }
  // Of weights, which is what generation waits for.
  [[nodiscard]] double WeightBytesPerToken() const {
    return work.weight_bytes / static_cast<double>(tokens);
  }
  [[nodiscard]] double GigabytesPerSecond() const { return work.weight_bytes / fastest_s * 1e-9; }
};

// Fills a cache with `prompt_tokens`, several times; they are counted, not what fills up a batch.
absl::StatusOr<InferMeasurement> MeasurePrompt(const InferSetup& setup);
// Then `new_tokens` one after another, greedily.
absl::StatusOr<InferMeasurement> MeasureGeneration(const InferSetup& setup);

}  // namespace choir::bench

#endif  // CHOIR_BENCH_INFER_MEASURE_H_
