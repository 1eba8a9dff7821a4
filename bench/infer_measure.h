#ifndef CHOIR_BENCH_INFER_MEASURE_H_
#define CHOIR_BENCH_INFER_MEASURE_H_

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

#include "base/clock.h"
#include "bench/in_turn.h"
#include "bench/op_work.h"
#include "engine/backend/backend.h"
#include "engine/infer/cached_model.h"
#include "engine/model/device_model.h"
#include "engine/model/inference_graph.h"
#include "engine/model/model.h"

namespace choir::bench {

// What is measured. The references outlive the run.
struct InferSetup {
  const engine::Model& model;
  engine::Backend& backend;
  const engine::DeviceModel& weights;
  const engine::DeviceAdapter* adapter = nullptr;  // null: none
  engine::Compute compute = engine::Compute::kAuto;
  int64_t prompt_tokens = 0;
  int64_t prompt_batch = 0;  // of them at once
  int64_t new_tokens = 0;
  engine::KvCacheType kv_cache = engine::CachedModelOptions{}.kv_cache;
  const Clock& clock;
};

// What was measured of a generator: runs of its whole prompt, or of one new token each.
struct InferMeasurement {
  Times runs;
  int64_t tokens = 0;  // of a run
  Work work;           // of a run
  int64_t batch = 0;   // tokens at once; the profile is of one batch
  uint64_t peak_resident_bytes = 0;
  std::vector<OpProfile> ops;
  std::string chrome_trace;

  [[nodiscard]] double TokensPerSecond() const {
    return static_cast<double>(tokens) / runs.Fastest();
  }
  [[nodiscard]] double MeanTokensPerSecond() const {
    return static_cast<double>(tokens) / runs.Mean();
  }
  [[nodiscard]] double Gflops() const { return work.flops / runs.Fastest() * 1e-9; }
  // Of weights, which is what generation waits for.
  [[nodiscard]] double WeightBytesPerToken() const {
    return work.weight_bytes / static_cast<double>(tokens);
  }
  [[nodiscard]] double GigabytesPerSecond() const {
    return work.weight_bytes / runs.Fastest() * 1e-9;
  }
};

// A generator over a cache of its own, timed step by step.
class InferRun : public MeasuredRun {
 public:
  enum class Part : uint8_t {
    kPrompt,      // a step: the whole prompt; tokens count, not what fills up its last batch
    kGeneration,  // a step: one new token after the prompt, greedily; `new_tokens` of them
  };
  // With a batch or token that does not count.
  static absl::StatusOr<std::unique_ptr<InferRun>> Create(const InferSetup& setup, Part part);

  absl::Status Step() override;
  [[nodiscard]] const Times& times() const override { return times_; }
  [[nodiscard]] InferMeasurement Result() const;

 private:
  InferRun(const InferSetup& setup, Part part, engine::KvCache cache, engine::CachedGraph graph);
  absl::Status Compile();
  // The program once, for the tokens from `start` on.
  absl::Status Run(int64_t start);
  [[nodiscard]] int64_t batch() const { return static_cast<int64_t>(ids_.size()); }

  InferSetup setup_;
  Part part_;
  engine::KvCache cache_;
  engine::CachedGraph graph_;
  std::unique_ptr<engine::Executable> executable_;
  std::vector<int32_t> ids_;
  std::vector<float> logits_;
  Profiler profiler_;
  Times times_;
};

// Fills a cache with `prompt_tokens`, several times.
absl::StatusOr<InferMeasurement> MeasurePrompt(const InferSetup& setup);
// Then `new_tokens` one after another.
absl::StatusOr<InferMeasurement> MeasureGeneration(const InferSetup& setup);

}  // namespace choir::bench

#endif  // CHOIR_BENCH_INFER_MEASURE_H_
