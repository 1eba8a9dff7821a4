#ifndef CHOIR_ENGINE_BACKEND_VULKAN_EXECUTABLE_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_EXECUTABLE_H_

#include <map>
#include <memory>
#include <vector>

#include "engine/backend/backend.h"
#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/pacer.h"
#include "engine/backend/vulkan/pipeline_store.h"
#include "engine/backend/vulkan/program.h"
#include "engine/graph/memory_plan.h"

namespace choir::engine::vulkan {

// A device and what is made once for it. Shared by the backend, its buffers' device aside, and
// every executable, which may outlive the backend.
struct Workshop {
  std::shared_ptr<Device> device;
  PipelineStore pipelines;
  ProductTuner tuner;
  Pacer pacer;
  uint64_t max_weight_binding_bytes;     // one binding covers
  uint64_t max_weight_allocation_bytes;  // one piece of a buffer of weights
  uint64_t max_allocation_bytes;         // any other buffer
  bool profile = false;                  // note when each node ends
};

class VulkanExecutable final : public Executable {
 public:
  static absl::StatusOr<std::unique_ptr<Executable>> Compile(
      std::shared_ptr<Workshop> workshop, const Graph& graph,
      const std::map<TensorId, Binding>& bindings, Compute compute);

  // The kernels of a graph on trial, without its weights: makes the pipelines that it will run, has
  // a software driver compile them, and returns what Compile() would allocate as workspace.
  static absl::StatusOr<uint64_t> Rehearse(std::shared_ptr<Workshop> workshop, const Graph& graph,
                                           Compute compute);

  absl::Status WriteInput(TensorId input, std::span<const uint8_t> bytes) override;
  absl::Status Run() override;
  absl::Status ReadOutput(TensorId output, std::span<uint8_t> bytes) override;
  [[nodiscard]] MemoryUse memory_use() const override { return memory_use_; }
  [[nodiscard]] std::vector<NodeTime> LastRunTimes() const override;

 private:
  // Where the host writes or reads a tensor.
  struct HostSlot {
    bool is_input = false;
    uint64_t offset = 0;  // in the host-side buffer, or in the arena if that is mapped
    uint64_t bytes = 0;
  };

  explicit VulkanExecutable(std::shared_ptr<Workshop> workshop) : workshop_(std::move(workshop)) {}
  absl::Status Bind(const Graph& graph, const std::map<TensorId, Binding>& bindings);
  // Returns the bytes of scratch that the nodes share.
  absl::StatusOr<uint64_t> RecordNodes(const Graph& graph, Compute compute,
                                       std::vector<Command>& commands);
  absl::Status Allocate(uint64_t scratch_bytes);
  void PlaceHostSlots(const Graph& graph);
  [[nodiscard]] std::vector<Command> HostCopies(bool inputs) const;
  [[nodiscard]] std::vector<TensorView> Views(const std::vector<TensorId>& ids) const;
  absl::StatusOr<uint8_t*> HostMemory(TensorId id, bool input, size_t bytes);

  std::shared_ptr<Workshop> workshop_;
  MemoryPlan plan_;
  BufferTable buffers_;
  std::vector<TensorView> views_;  // by tensor
  std::map<TensorId, HostSlot> host_slots_;
  bool staged_ = false;  // inputs and outputs pass through a host-side buffer
  uint64_t host_side_bytes_ = 0;
  MemoryUse memory_use_;
  std::vector<size_t> node_ends_;  // numbers of commands: before the first node, after each
  std::unique_ptr<Program> program_;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_EXECUTABLE_H_
