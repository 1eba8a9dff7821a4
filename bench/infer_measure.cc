#include "bench/infer_measure.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "base/process_memory.h"
#include "base/status_macros.h"

namespace choir::bench {
namespace {

constexpr int kPromptRuns = 4;

int64_t Batches(const InferSetup& setup) {
  return (setup.prompt_tokens + setup.prompt_batch - 1) / setup.prompt_batch;
}

// Of the prompt in whole batches, and of the new tokens.
int64_t CacheRows(const InferSetup& setup) {
  return Batches(setup) * setup.prompt_batch + setup.new_tokens;
}

absl::StatusOr<InferMeasurement> Measure(const InferSetup& setup, InferRun::Part part,
                                         int64_t steps) {
  CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<InferRun> run, InferRun::Create(setup, part));
  for (int64_t step = 0; step < steps; ++step) CHOIR_RETURN_IF_ERROR(run->Step());
  return run->Result();
}

}  // namespace

InferRun::InferRun(const InferSetup& setup, Part part, engine::KvCache cache,
                   engine::CachedGraph graph)
    : setup_(setup),
      part_(part),
      cache_(std::move(cache)),
      graph_(std::move(graph)),
      profiler_(graph_.graph) {}

absl::StatusOr<std::unique_ptr<InferRun>> InferRun::Create(const InferSetup& setup, Part part) {
  CHOIR_ASSIGN_OR_RETURN(
      engine::KvCache cache,
      engine::KvCache::Create(setup.backend, setup.model.spec(), CacheRows(setup), setup.kv_cache));
  const int64_t tokens = part == Part::kPrompt ? setup.prompt_batch : 1;
  const engine::AdapterLayout* const layout =
      setup.adapter == nullptr ? nullptr : &setup.adapter->layout();
  CHOIR_ASSIGN_OR_RETURN(
      engine::CachedGraph graph,
      engine::BuildCachedGraph(setup.model, layout, tokens, CacheRows(setup), setup.kv_cache));
  // The constructor is private; std::make_unique cannot reach it.
  std::unique_ptr<InferRun> run(new InferRun(setup, part, std::move(cache), std::move(graph)));
  const int64_t vocabulary = setup.model.spec().vocabulary;
  for (int64_t t = 0; t < tokens; ++t) {
    run->ids_.push_back(static_cast<int32_t>((t + 1) * 7919 % vocabulary));
  }
  run->logits_.resize(static_cast<size_t>(vocabulary));
  CHOIR_RETURN_IF_ERROR(run->Compile());
  CHOIR_RETURN_IF_ERROR(run->Run(part == Part::kPrompt ? 0 : setup.prompt_tokens));
  return run;
}

absl::Status InferRun::Compile() {
  engine::Bindings bindings;
  setup_.weights.Bind(graph_.graph, bindings);
  if (setup_.adapter != nullptr) setup_.adapter->Bind(graph_.graph, bindings);
  cache_.Bind(graph_.graph, bindings);
  CHOIR_ASSIGN_OR_RETURN(
      executable_, setup_.backend.Compile(graph_.graph, bindings, {.compute = setup_.compute}));
  return absl::OkStatus();
}

absl::Status InferRun::Run(int64_t start) {
  std::vector<int32_t> positions(ids_.size());
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(start));
  const auto first = static_cast<int32_t>(start);
  const auto last = static_cast<int32_t>(ids_.size() - 1);
  const auto write = [&](engine::TensorId id, std::span<const int32_t> values) {
    return executable_->WriteInput(id, engine::BytesOf(values));
  };
  CHOIR_RETURN_IF_ERROR(write(graph_.ids, ids_));
  CHOIR_RETURN_IF_ERROR(write(graph_.positions, positions));
  CHOIR_RETURN_IF_ERROR(write(graph_.start, {&first, 1}));
  CHOIR_RETURN_IF_ERROR(write(graph_.last_row, {&last, 1}));
  CHOIR_RETURN_IF_ERROR(executable_->Run());
  return executable_->ReadOutput(graph_.logits, engine::MutableBytesOf(std::span<float>(logits_)));
}

absl::Status InferRun::Step() {
  const bool prompt = part_ == Part::kPrompt;
  const int64_t runs = prompt ? Batches(setup_) : 1;
  const int64_t begin = prompt ? 0 : setup_.prompt_tokens + times_.count();
  if (!prompt && times_.count() == setup_.new_tokens) {
    return absl::FailedPreconditionError("all new tokens of the run are generated");
  }
  if (!prompt) {
    const auto best = std::max_element(logits_.begin(), logits_.end());
    ids_[0] = static_cast<int32_t>(best - logits_.begin());
  }
  const absl::Time start = setup_.clock.Now();
  for (int64_t run = 0; run < runs; ++run) {
    CHOIR_RETURN_IF_ERROR(Run(begin + run * batch()));
    profiler_.Add(*executable_);
  }
  times_.Add(absl::ToDoubleSeconds(setup_.clock.Now() - start));
  return absl::OkStatus();
}

InferMeasurement InferRun::Result() const {
  const bool prompt = part_ == Part::kPrompt;
  const auto runs = static_cast<double>(prompt ? Batches(setup_) : 1);
  InferMeasurement result;
  result.runs = times_;
  result.batch = batch();
  result.tokens = prompt ? setup_.prompt_tokens : 1;
  result.work = WorkOf(graph_.graph);
  result.work.flops *= runs;
  result.work.bytes *= runs;
  result.work.weight_bytes *= runs;
  result.peak_resident_bytes = PeakResidentBytes();
  result.ops = profiler_.ByOp();
  result.chrome_trace = profiler_.ChromeTrace();
  return result;
}

absl::StatusOr<InferMeasurement> MeasurePrompt(const InferSetup& setup) {
  return Measure(setup, InferRun::Part::kPrompt, kPromptRuns);
}

absl::StatusOr<InferMeasurement> MeasureGeneration(const InferSetup& setup) {
  return Measure(setup, InferRun::Part::kGeneration, setup.new_tokens);
}

}  // namespace choir::bench
