#ifndef CHOIR_ENGINE_BACKEND_BACKEND_H_
#define CHOIR_ENGINE_BACKEND_BACKEND_H_

// Where graphs run. A Backend owns a device and its memory; it compiles a graph to an Executable.
// Neither is thread-safe: one thread at a time for a backend and all that it made.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/graph/graph.h"

namespace choir::engine {

// Memory of a backend that outlives a run. Shared, because several executables (train, evaluate,
// generate) work on the same weights and adapter.
class DeviceBuffer {
 public:
  virtual ~DeviceBuffer() = default;
  [[nodiscard]] virtual uint64_t size_bytes() const = 0;
  // Is it the caller's memory itself, which then must stay as it is?
  [[nodiscard]] virtual bool reads_in_place() const { return false; }
};

// A persistent tensor's place: `offset_bytes` is a multiple of 4 (adapter factors lie one after
// another in one buffer, in canonical order, so that AdamW and secure aggregation see one flat
// vector).
struct Binding {
  std::shared_ptr<DeviceBuffer> buffer;
  uint64_t offset_bytes = 0;
};

enum class Compute : uint8_t {
  kAuto,  // bf16 products where the device has fast ones, else f32
  kF32,
  kBf16,  // bf16 products, f32 sums
};

struct CompileOptions {
  Compute compute = Compute::kAuto;
};

// What a device is and can do, for people (`choir devices`) and for the planner.
struct DeviceInfo {
  std::string backend;  // "cpu", "vulkan"
  std::string name;
  std::string driver;
  uint64_t memory_bytes = 0;            // that a process may hope to use
  uint64_t max_buffer_range_bytes = 0;  // largest range that one binding may cover; 0: no limit
  bool is_software = false;             // a CPU that emulates a GPU
  std::vector<std::string> features;    // e.g. "bf16", "subgroup", "fp16", "int8 dot product"
  // How products with frozen weights were found to be fastest here, and what is never used; a line
  // each. Grows as products are met.
  std::vector<std::string> ways = {};
};

struct MemoryUse {
  uint64_t arena_bytes = 0;      // intermediates, inputs, outputs
  uint64_t workspace_bytes = 0;  // scratch of kernels
};

// Where the time of a run went: one node of the graph.
struct NodeTime {
  double begin_s = 0;  // since the run began
  double seconds = 0;
};

// What a backend's buffers take of its device's memory.
struct DeviceMemoryUse {
  uint64_t now_bytes = 0;
  uint64_t most_bytes = 0;  // at a time, since the backend was made
};

// One compiled graph. Run() after WriteInput of every input; ReadOutput after Run.
class Executable {
 public:
  virtual ~Executable() = default;
  // The whole tensor, 4 bytes an element. INVALID_ARGUMENT if the size differs or it is no input.
  virtual absl::Status WriteInput(TensorId input, std::span<const uint8_t> bytes) = 0;
  // UNAVAILABLE with "device lost" if the device went away; the persistent buffers are then void.
  virtual absl::Status Run() = 0;
  virtual absl::Status ReadOutput(TensorId output, std::span<uint8_t> bytes) = 0;
  [[nodiscard]] virtual MemoryUse memory_use() const = 0;
  // Of the last run, by node in the graph's order; empty where the backend does not measure.
  [[nodiscard]] virtual std::vector<NodeTime> LastRunTimes() const { return {}; }
};

class Backend {
 public:
  virtual ~Backend() = default;
  [[nodiscard]] virtual const DeviceInfo& info() const = 0;
  // Frozen bytes of a model file. The CPU uses them in place: the caller keeps them alive and
  // unchanged as long as the buffer. A GPU uploads them once.
  virtual absl::StatusOr<std::shared_ptr<DeviceBuffer>> WrapWeights(
      std::span<const uint8_t> bytes) = 0;
  // The same for bytes of a MappedFile that shall not stay in memory: where they are used in place,
  // each use fetches them and lets them go again. Slower, the same result, memory for a tensor or
  // two instead of a model.
  virtual absl::StatusOr<std::shared_ptr<DeviceBuffer>> StreamWeights(
      std::span<const uint8_t> mapped) {
    return WrapWeights(mapped);
  }
  // Zero-filled. RESOURCE_EXHAUSTED says how much was asked and is free.
  virtual absl::StatusOr<std::shared_ptr<DeviceBuffer>> Allocate(uint64_t size_bytes) = 0;
  virtual absl::Status Write(DeviceBuffer& buffer, uint64_t offset_bytes,
                             std::span<const uint8_t> bytes) = 0;
  virtual absl::Status Read(const DeviceBuffer& buffer, uint64_t offset_bytes,
                            std::span<uint8_t> bytes) = 0;
  // Can it run this node, and if not, why? UNIMPLEMENTED.
  [[nodiscard]] virtual absl::Status Supports(const Graph& graph, const Node& node) const = 0;
  // `bindings` has every persistent tensor of the graph. The graph is copied as needed.
  virtual absl::StatusOr<std::unique_ptr<Executable>> Compile(
      const Graph& graph, const std::map<TensorId, Binding>& bindings,
      const CompileOptions& options) = 0;
  // All zero where the device has no memory beside the process's own and no copies in it: the CPU.
  [[nodiscard]] virtual DeviceMemoryUse memory_use() const { return {}; }
  // The workspace that Compile would allocate for this graph; 0 where the backend cannot tell.
  // Prepares the kernels on trial: afterwards the process has the code that they bring with them.
  virtual absl::StatusOr<uint64_t> WorkspaceBytes(const Graph& /*graph*/,
                                                  const CompileOptions& /*options*/) {
    return uint64_t{0};
  }
};

// Helpers for typed reads and writes.
template <typename T>
std::span<const uint8_t> BytesOf(std::span<const T> values) {
  return {reinterpret_cast<const uint8_t*>(values.data()), values.size_bytes()};
}
template <typename T>
std::span<uint8_t> MutableBytesOf(std::span<T> values) {
  return {reinterpret_cast<uint8_t*>(values.data()), values.size_bytes()};
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_BACKEND_H_
