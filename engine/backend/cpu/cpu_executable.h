#ifndef CHOIR_ENGINE_BACKEND_CPU_CPU_EXECUTABLE_H_
#define CHOIR_ENGINE_BACKEND_CPU_CPU_EXECUTABLE_H_

#include <map>
#include <memory>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/backend/cpu/aligned_bytes.h"
#include "engine/backend/cpu/cpu_kernel.h"

namespace choir::engine {

// Memory of the CPU backend: its own, or bytes of the caller that it only reads.
class CpuBuffer final : public DeviceBuffer {
 public:
  // `streamed`: bytes of a mapped file that each use lets go again.
  explicit CpuBuffer(std::span<const uint8_t> wrapped, bool streamed = false)
      : data_(wrapped.data()), size_bytes_(wrapped.size()), streamed_(streamed) {}
  CpuBuffer(AlignedBytes bytes, uint64_t size_bytes)
      : bytes_(std::move(bytes)), data_(bytes_.data()), size_bytes_(size_bytes) {}

  [[nodiscard]] uint64_t size_bytes() const override { return size_bytes_; }
  [[nodiscard]] bool reads_in_place() const override { return bytes_.data() == nullptr; }
  [[nodiscard]] bool streamed() const { return streamed_; }
  [[nodiscard]] const uint8_t* data() const { return data_; }
  // Null for wrapped bytes.
  [[nodiscard]] uint8_t* mutable_data() { return bytes_.data(); }

 private:
  AlignedBytes bytes_;
  const uint8_t* data_;
  uint64_t size_bytes_;
  bool streamed_ = false;
};

class CpuExecutable final : public Executable {
 public:
  // The pool outlives the executable. INVALID_ARGUMENT for a binding that is missing, too small, or
  // written through but read-only.
  static absl::StatusOr<std::unique_ptr<CpuExecutable>> Create(
      const Graph& graph, const std::map<TensorId, Binding>& bindings, GemmType weight_products,
      std::shared_ptr<ThreadPool> pool);

  absl::Status WriteInput(TensorId input, std::span<const uint8_t> bytes) override;
  absl::Status Run() override;
  absl::Status ReadOutput(TensorId output, std::span<uint8_t> bytes) override;
  [[nodiscard]] MemoryUse memory_use() const override;
  [[nodiscard]] std::vector<NodeTime> LastRunTimes() const override;

 private:
  struct Place {
    Tensor tensor;
    const uint8_t* data = nullptr;
    uint8_t* mutable_data = nullptr;
    bool streamed = false;
  };
  struct Step {
    CpuProgram program;
    NodeTime time;
    std::vector<std::span<const uint8_t>> streamed = {};  // weights to let go afterwards
    bool reads_all = true;                                // of them; not of a table of embeddings
    size_t next_streaming = 0;                            // step whose weights to fetch meanwhile
  };

  explicit CpuExecutable(std::shared_ptr<ThreadPool> pool);
  absl::Status PlaceTensors(const Graph& graph, const std::map<TensorId, Binding>& bindings);
  absl::Status BindPersistent(Place& place, const Binding& binding);
  absl::Status PrepareNode(const Node& node, size_t index, CpuCompiler& compiler);
  void PlanStreaming();
  void FetchNext(const Step& step) const;
  absl::StatusOr<CpuOutput> Writable(TensorId id) const;
  absl::StatusOr<const Place*> FindPlace(TensorId id) const;

  std::shared_ptr<ThreadPool> pool_;  // shared with the backend and its other executables
  GemmLibrary gemms_;
  RopeTables ropes_;
  std::vector<Place> places_;  // by tensor id
  std::vector<std::shared_ptr<DeviceBuffer>> buffers_;
  std::vector<Step> steps_;
  AlignedBytes arena_;
  AlignedBytes shared_scratch_;
  AlignedBytes worker_scratch_;
  uint64_t worker_bytes_ = 0;
  MemoryUse memory_use_;
  uint64_t num_runs_ = 0;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_CPU_CPU_EXECUTABLE_H_
