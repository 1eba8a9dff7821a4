#include "engine/backend/cpu/cpu_executable.h"

#include <chrono>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/mapped_file.h"
#include "base/status_macros.h"
#include "engine/backend/cpu/kernel_table.h"
#include "engine/graph/memory_plan.h"

namespace choir::engine {
namespace {

double Now() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double>(now).count();
}

}  // namespace

CpuExecutable::CpuExecutable(std::shared_ptr<ThreadPool> pool)
    : pool_(std::move(pool)), gemms_(pool_->num_threads()) {}

absl::StatusOr<std::unique_ptr<CpuExecutable>> CpuExecutable::Create(
    const Graph& graph, const std::map<TensorId, Binding>& bindings, GemmType weight_products,
    std::shared_ptr<ThreadPool> pool) {
  std::unique_ptr<CpuExecutable> result(new CpuExecutable(std::move(pool)));
  CHOIR_RETURN_IF_ERROR(result->PlaceTensors(graph, bindings));
  CpuCompiler compiler(result->gemms_, result->ropes_, weight_products);
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    CHOIR_RETURN_IF_ERROR(result->PrepareNode(graph.nodes()[i], i, compiler));
  }
  result->PlanStreaming();
  const auto workers = static_cast<uint64_t>(result->pool_->num_threads());
  result->worker_bytes_ = compiler.worker_bytes();
  CHOIR_ASSIGN_OR_RETURN(result->shared_scratch_, AlignedBytes::Allocate(compiler.shared_bytes()));
  CHOIR_ASSIGN_OR_RETURN(result->worker_scratch_,
                         AlignedBytes::Allocate(compiler.worker_bytes() * workers));
  CHOIR_RETURN_IF_ERROR(result->gemms_.AllocateScratch());
  result->memory_use_.workspace_bytes =
      compiler.shared_bytes() + compiler.worker_bytes() * workers + result->gemms_.scratch_bytes() +
      result->ropes_.size_bytes();
  return result;
}

absl::Status CpuExecutable::PlaceTensors(const Graph& graph,
                                         const std::map<TensorId, Binding>& bindings) {
  const MemoryPlan plan = PlanMemory(graph, AlignedBytes::kAlignment);
  const auto arena_bytes = static_cast<uint64_t>(plan.arena_bytes);
  CHOIR_ASSIGN_OR_RETURN(arena_, AlignedBytes::Allocate(arena_bytes));
  memory_use_.arena_bytes = arena_bytes;
  for (size_t i = 0; i < graph.tensors().size(); ++i) {
    Place& place = places_.emplace_back(Place{graph.tensors()[i], nullptr, nullptr});
    if (place.tensor.kind == TensorKind::kPersistent) {
      const auto binding = bindings.find(static_cast<TensorId>(i));
      if (binding == bindings.end() || binding->second.buffer == nullptr) {
        return absl::InvalidArgumentError(
            fmt::format("tensor {} has no buffer bound to it", place.tensor.name));
      }
      CHOIR_RETURN_IF_ERROR(BindPersistent(place, binding->second));
    } else if (plan.offsets[i] >= 0) {
      place.mutable_data = arena_.data() + plan.offsets[i];
      place.data = place.mutable_data;
    }
  }
  return absl::OkStatus();
}

absl::Status CpuExecutable::BindPersistent(Place& place, const Binding& binding) {
  auto* const buffer = dynamic_cast<CpuBuffer*>(binding.buffer.get());
  if (buffer == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {} is bound to a buffer of another backend", place.tensor.name));
  }
  const auto need = static_cast<uint64_t>(SizeBytes(place.tensor.desc));
  if (binding.offset_bytes > buffer->size_bytes() ||
      need > buffer->size_bytes() - binding.offset_bytes) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {}: bytes [{}, +{}) lie outside its buffer of {} bytes",
                    place.tensor.name, binding.offset_bytes, need, buffer->size_bytes()));
  }
  place.data = buffer->data() + binding.offset_bytes;
  place.streamed = buffer->streamed();
  const bool has_elements = place.tensor.desc.dtype != DType::kWeight;
  if (has_elements && reinterpret_cast<uintptr_t>(place.data) % sizeof(float) != 0) {
    return absl::InvalidArgumentError(fmt::format("tensor {}: offset {} is not a multiple of 4",
                                                  place.tensor.name, binding.offset_bytes));
  }
  if (buffer->mutable_data() != nullptr) {
    place.mutable_data = buffer->mutable_data() + binding.offset_bytes;
  }
  buffers_.push_back(binding.buffer);
  return absl::OkStatus();
}

absl::StatusOr<CpuOutput> CpuExecutable::Writable(TensorId id) const {
  const Place& place = places_[static_cast<size_t>(id)];
  if (place.mutable_data == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {} is written by an op, but its place is read-only or not planned",
                    place.tensor.name));
  }
  return CpuOutput{place.tensor.desc, place.mutable_data};
}

absl::Status CpuExecutable::PrepareNode(const Node& node, size_t index, CpuCompiler& compiler) {
  CpuCall call{node.attrs, {}, {}, {}};
  std::vector<std::span<const uint8_t>> streamed;
  for (const TensorId id : node.inputs) {
    const Place& place = places_[static_cast<size_t>(id)];
    call.inputs.push_back({place.tensor.desc, place.data, place.streamed});
    if (place.streamed) {
      streamed.emplace_back(place.data, static_cast<size_t>(SizeBytes(place.tensor.desc)));
    }
  }
  for (const TensorId id : node.outputs) {
    CHOIR_ASSIGN_OR_RETURN(const CpuOutput output, Writable(id));
    call.outputs.push_back(output);
  }
  for (const TensorId id : node.updates) {
    CHOIR_ASSIGN_OR_RETURN(const CpuOutput update, Writable(id));
    call.updates.push_back(update);
  }
  compiler.BeginNode();
  auto program = CpuKernelOf(*node.op).prepare(call, compiler);
  if (!program.ok()) {
    return {program.status().code(), fmt::format("node {} ({}): {}", index, node.op->name,
                                                 std::string(program.status().message()))};
  }
  const bool reads_all = node.op->name != std::string_view("embed");
  steps_.push_back({*std::move(program), {}, std::move(streamed), reads_all, 0});
  return absl::OkStatus();
}

// While a step runs, the disk fetches the weights of the next one that streams its own; the last
// step of a run goes on with the first of the next.
void CpuExecutable::PlanStreaming() {
  size_t next = steps_.size();
  for (int pass = 0; pass < 2; ++pass) {
    for (size_t i = steps_.size(); i-- > 0;) {
      steps_[i].next_streaming = next;
      if (!steps_[i].streamed.empty() && steps_[i].reads_all) next = i;
    }
  }
}

void CpuExecutable::FetchNext(const Step& step) const {
  if (step.next_streaming >= steps_.size()) return;
  for (const auto& bytes : steps_[step.next_streaming].streamed) PrefetchMapped(bytes);
}

absl::StatusOr<const CpuExecutable::Place*> CpuExecutable::FindPlace(TensorId id) const {
  if (id < 0 || static_cast<size_t>(id) >= places_.size()) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {} is not one of the graph's {}", id, places_.size()));
  }
  return &places_[static_cast<size_t>(id)];
}

absl::Status CpuExecutable::WriteInput(TensorId input, std::span<const uint8_t> bytes) {
  CHOIR_ASSIGN_OR_RETURN(const Place* place, FindPlace(input));
  if (place->tensor.kind != TensorKind::kInput) {
    return absl::InvalidArgumentError(fmt::format("tensor {} is no input", place->tensor.name));
  }
  if (bytes.size() != static_cast<uint64_t>(SizeBytes(place->tensor.desc))) {
    return absl::InvalidArgumentError(fmt::format("input {} has {} bytes, {} were given",
                                                  place->tensor.name, SizeBytes(place->tensor.desc),
                                                  bytes.size()));
  }
  // An input that no node reads has no place.
  if (place->mutable_data != nullptr && !bytes.empty()) {
    std::memcpy(place->mutable_data, bytes.data(), bytes.size());
  }
  return absl::OkStatus();
}

absl::Status CpuExecutable::Run() {
  CpuRun run(*pool_, shared_scratch_.data(), worker_scratch_.data(), worker_bytes_);
  run.run_number = ++num_runs_;
  const double begin = Now();
  double start = begin;
  for (Step& step : steps_) {
    if (!step.streamed.empty()) FetchNext(step);
    CHOIR_RETURN_IF_ERROR(step.program(run));
    CHOIR_RETURN_IF_ERROR(gemms_.TakeError());
    for (const auto& bytes : step.streamed) ReleaseMapped(bytes);
    const double end = Now();
    step.time = {start - begin, end - start};
    start = end;
  }
  return absl::OkStatus();
}

absl::Status CpuExecutable::ReadOutput(TensorId output, std::span<uint8_t> bytes) {
  CHOIR_ASSIGN_OR_RETURN(const Place* place, FindPlace(output));
  if (!place->tensor.is_output || place->data == nullptr) {
    return absl::InvalidArgumentError(fmt::format("tensor {} is no output", place->tensor.name));
  }
  if (bytes.size() != static_cast<uint64_t>(SizeBytes(place->tensor.desc))) {
    return absl::InvalidArgumentError(fmt::format("output {} has {} bytes, {} were asked for",
                                                  place->tensor.name, SizeBytes(place->tensor.desc),
                                                  bytes.size()));
  }
  if (!bytes.empty()) std::memcpy(bytes.data(), place->data, bytes.size());
  return absl::OkStatus();
}

MemoryUse CpuExecutable::memory_use() const {
  return memory_use_;
}

std::vector<NodeTime> CpuExecutable::LastRunTimes() const {
  std::vector<NodeTime> times;
  times.reserve(steps_.size());
  for (const Step& step : steps_) times.push_back(step.time);
  return times;
}

}  // namespace choir::engine
