#include "bench/infer_measure.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <utility>

#include "base/process_memory.h"
#include "base/status_macros.h"
#include "engine/model/inference_graph.h"

namespace choir::bench {
namespace {

constexpr int kPromptRuns = 4;

// A compiled program over a cache of its own or a shared one.
struct Program {
  engine::CachedGraph graph;
  std::unique_ptr<engine::Executable> executable;
  std::vector<int32_t> ids;
  std::vector<float> logits;
};

int64_t Batches(const InferSetup& setup) {
  return (setup.prompt_tokens + setup.prompt_batch - 1) / setup.prompt_batch;
}

// Of the prompt in whole batches, and of the new tokens.
int64_t CacheRows(const InferSetup& setup) {
  return Batches(setup) * setup.prompt_batch + setup.new_tokens;
}

absl::StatusOr<Program> Compile(const InferSetup& setup, const engine::KvCache& cache,
                                int64_t tokens) {
  Program program;
  CHOIR_ASSIGN_OR_RETURN(program.graph, engine::BuildCachedGraph(setup.model, nullptr, tokens,
                                                                 CacheRows(setup), setup.kv_cache));
  engine::Bindings bindings;
  setup.weights.Bind(program.graph.graph, bindings);
  cache.Bind(program.graph.graph, bindings);
  CHOIR_ASSIGN_OR_RETURN(program.executable, setup.backend.Compile(program.graph.graph, bindings,
                                                                   {.compute = setup.compute}));
  const int64_t vocabulary = setup.model.spec().vocabulary;
  for (int64_t t = 0; t < tokens; ++t) {
    program.ids.push_back(static_cast<int32_t>((t + 1) * 7919 % vocabulary));
  }
  program.logits.resize(static_cast<size_t>(vocabulary));
  return program;
}

absl::Status Run(Program& program, int64_t start) {
  engine::Executable& executable = *program.executable;
  const size_t tokens = program.ids.size();
  std::vector<int32_t> positions(tokens);
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(start));
  const auto first = static_cast<int32_t>(start);
  const auto last = static_cast<int32_t>(tokens - 1);
  const auto write = [&](engine::TensorId id, std::span<const int32_t> values) {
    return executable.WriteInput(id, engine::BytesOf(values));
  };
  CHOIR_RETURN_IF_ERROR(write(program.graph.ids, program.ids));
  CHOIR_RETURN_IF_ERROR(write(program.graph.positions, positions));
  CHOIR_RETURN_IF_ERROR(write(program.graph.start, {&first, 1}));
  CHOIR_RETURN_IF_ERROR(write(program.graph.last_row, {&last, 1}));
  CHOIR_RETURN_IF_ERROR(executable.Run());
  return executable.ReadOutput(program.graph.logits,
                               engine::MutableBytesOf(std::span<float>(program.logits)));
}

// Once unmeasured, then `runs` times: a run is `steps` runs of the program, `start` gives the place
// of each in the cache.
template <typename Start>
absl::StatusOr<InferMeasurement> Time(const InferSetup& setup, Program& program, int64_t runs,
                                      int64_t steps, Start start) {
  InferMeasurement result;
  Profiler profiler(program.graph.graph);
  CHOIR_RETURN_IF_ERROR(Run(program, start(0)));
  double total = 0;
  for (int64_t run = 0; run < runs; ++run) {
    if (program.ids.size() == 1) {
      const auto best = std::max_element(program.logits.begin(), program.logits.end());
      program.ids[0] = static_cast<int32_t>(best - program.logits.begin());
    }
    const absl::Time begin = setup.clock.Now();
    for (int64_t step = 0; step < steps; ++step) {
      CHOIR_RETURN_IF_ERROR(Run(program, start(run * steps + step)));
      profiler.Add(*program.executable);
    }
    const double seconds = absl::ToDoubleSeconds(setup.clock.Now() - begin);
    total += seconds;
    result.fastest_s = run == 0 ? seconds : std::min(result.fastest_s, seconds);
  }
  result.batch = static_cast<int64_t>(program.ids.size());
  result.tokens = result.batch * steps;
  result.mean_s = total / static_cast<double>(runs);
  result.work = WorkOf(program.graph.graph);
  result.work.flops *= static_cast<double>(steps);
  result.work.bytes *= static_cast<double>(steps);
  result.work.weight_bytes *= static_cast<double>(steps);
  result.peak_resident_bytes = PeakResidentBytes();
  result.ops = profiler.ByOp();
  result.chrome_trace = profiler.ChromeTrace();
  return result;
}

absl::StatusOr<engine::KvCache> CacheFor(const InferSetup& setup) {
  return engine::KvCache::Create(setup.backend, setup.model.spec(), CacheRows(setup),
                                 setup.kv_cache);
}

}  // namespace

absl::StatusOr<InferMeasurement> MeasurePrompt(const InferSetup& setup) {
  CHOIR_ASSIGN_OR_RETURN(const engine::KvCache cache, CacheFor(setup));
  CHOIR_ASSIGN_OR_RETURN(Program prompt, Compile(setup, cache, setup.prompt_batch));
  const int64_t batches = Batches(setup);
  CHOIR_ASSIGN_OR_RETURN(InferMeasurement result,
                         Time(setup, prompt, kPromptRuns, batches,
                              [&](int64_t step) { return step % batches * setup.prompt_batch; }));
  result.tokens = setup.prompt_tokens;
  return result;
}

absl::StatusOr<InferMeasurement> MeasureGeneration(const InferSetup& setup) {
  CHOIR_ASSIGN_OR_RETURN(const engine::KvCache cache, CacheFor(setup));
  CHOIR_ASSIGN_OR_RETURN(Program decode, Compile(setup, cache, 1));
  return Time(setup, decode, setup.new_tokens, 1,
              [&setup](int64_t run) { return setup.prompt_tokens + run; });
}

}  // namespace choir::bench
