#include "engine/backend/cpu/cpu_backend.h"

#include <oneapi/dnnl/dnnl_version.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <string>
#include <thread>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/backend/cpu/cpu_executable.h"

namespace choir::engine {
namespace {

constexpr int kMaxThreads = 1024;

std::string CpuName() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  for (std::string line; std::getline(cpuinfo, line);) {
    const size_t colon = line.find(": ");
    if (line.starts_with("model name") && colon != std::string::npos) return line.substr(colon + 2);
  }
  return "CPU";
}

absl::StatusOr<CpuBuffer*> OwnBuffer(DeviceBuffer& buffer) {
  auto* const own = dynamic_cast<CpuBuffer*>(&buffer);
  if (own == nullptr) return absl::InvalidArgumentError("the buffer belongs to another backend");
  return own;
}

absl::Status CheckRange(uint64_t offset_bytes, uint64_t size_bytes, uint64_t buffer_bytes) {
  if (offset_bytes > buffer_bytes || size_bytes > buffer_bytes - offset_bytes) {
    return absl::InvalidArgumentError(fmt::format("bytes [{}, +{}) lie outside the buffer of {}",
                                                  offset_bytes, size_bytes, buffer_bytes));
  }
  return absl::OkStatus();
}

class CpuBackend final : public Backend {
 public:
  explicit CpuBackend(int num_threads)
      : info_(DescribeCpu()), pool_(std::make_shared<ThreadPool>(num_threads)) {}

  [[nodiscard]] const DeviceInfo& info() const override { return info_; }

  absl::StatusOr<std::shared_ptr<DeviceBuffer>> WrapWeights(
      std::span<const uint8_t> bytes) override {
    return std::make_shared<CpuBuffer>(bytes);
  }

  absl::StatusOr<std::shared_ptr<DeviceBuffer>> StreamWeights(
      std::span<const uint8_t> mapped) override {
    return std::make_shared<CpuBuffer>(mapped, true);
  }

  absl::StatusOr<std::shared_ptr<DeviceBuffer>> Allocate(uint64_t size_bytes) override {
    CHOIR_ASSIGN_OR_RETURN(AlignedBytes bytes, AlignedBytes::Allocate(size_bytes));
    return std::make_shared<CpuBuffer>(std::move(bytes), size_bytes);
  }

  absl::Status Write(DeviceBuffer& buffer, uint64_t offset_bytes,
                     std::span<const uint8_t> bytes) override {
    CHOIR_ASSIGN_OR_RETURN(CpuBuffer* const own, OwnBuffer(buffer));
    CHOIR_RETURN_IF_ERROR(CheckRange(offset_bytes, bytes.size(), own->size_bytes()));
    if (bytes.empty()) return absl::OkStatus();
    if (own->mutable_data() == nullptr) {
      return absl::InvalidArgumentError("wrapped weights cannot be written");
    }
    std::memcpy(own->mutable_data() + offset_bytes, bytes.data(), bytes.size());
    return absl::OkStatus();
  }

  absl::Status Read(const DeviceBuffer& buffer, uint64_t offset_bytes,
                    std::span<uint8_t> bytes) override {
    const auto* const own = dynamic_cast<const CpuBuffer*>(&buffer);
    if (own == nullptr) return absl::InvalidArgumentError("the buffer belongs to another backend");
    CHOIR_RETURN_IF_ERROR(CheckRange(offset_bytes, bytes.size(), own->size_bytes()));
    if (!bytes.empty()) std::memcpy(bytes.data(), own->data() + offset_bytes, bytes.size());
    return absl::OkStatus();
  }

  // Every op of the table has a kernel that takes all shapes that the op's rule accepts.
  [[nodiscard]] absl::Status Supports(const Graph& /*graph*/, const Node& /*node*/) const override {
    return absl::OkStatus();
  }

  absl::StatusOr<std::unique_ptr<Executable>> Compile(const Graph& graph,
                                                      const std::map<TensorId, Binding>& bindings,
                                                      const CompileOptions& options) override {
    CHOIR_ASSIGN_OR_RETURN(const GemmType type, ProductType(options));
    return CpuExecutable::Create(graph, bindings, type, pool_);
  }

  // Prepares everything over memory that is never touched, and so never resident.
  absl::StatusOr<uint64_t> WorkspaceBytes(const Graph& graph,
                                          const CompileOptions& options) override {
    CHOIR_ASSIGN_OR_RETURN(const GemmType type, ProductType(options));
    uint64_t largest = 0;
    std::map<TensorId, Binding> bindings;
    for (size_t i = 0; i < graph.tensors().size(); ++i) {
      if (graph.tensors()[i].kind != TensorKind::kPersistent) continue;
      largest = std::max(largest, static_cast<uint64_t>(SizeBytes(graph.tensors()[i].desc)));
      bindings[static_cast<TensorId>(i)] = {};
    }
    CHOIR_ASSIGN_OR_RETURN(const std::shared_ptr<DeviceBuffer> stand_in, Allocate(largest));
    for (auto& [id, binding] : bindings) binding.buffer = stand_in;
    CHOIR_ASSIGN_OR_RETURN(const std::unique_ptr<CpuExecutable> dry,
                           CpuExecutable::Create(graph, bindings, type, pool_));
    return dry->memory_use().workspace_bytes;
  }

 private:
  static absl::StatusOr<GemmType> ProductType(const CompileOptions& options) {
    const bool has_bf16 = CpuHasFastBf16();
    if (options.compute == Compute::kBf16 && !has_bf16) {
      return absl::UnimplementedError(fmt::format(
          "this CPU has no bf16 products (its best instruction set is {}); use f32 or auto",
          CpuInstructionSet()));
    }
    return has_bf16 && options.compute != Compute::kF32 ? GemmType::kBf16 : GemmType::kF32;
  }

  DeviceInfo info_;
  std::shared_ptr<ThreadPool> pool_;  // an executable may outlive the backend
};

}  // namespace

absl::StatusOr<std::unique_ptr<Backend>> CreateCpuBackend(int num_threads) {
  if (num_threads < 0 || num_threads > kMaxThreads) {
    return absl::InvalidArgumentError(
        fmt::format("{} threads: must be 0 (all cores) to {}", num_threads, kMaxThreads));
  }
  if (num_threads == 0) num_threads = static_cast<int>(std::thread::hardware_concurrency());
  return std::make_unique<CpuBackend>(std::max(num_threads, 1));
}

DeviceInfo DescribeCpu() {
  DeviceInfo info;
  info.backend = "cpu";
  info.name = CpuName();
  info.driver =
      fmt::format("oneDNN {}.{}.{}", DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR, DNNL_VERSION_PATCH);
  const int64_t pages = sysconf(_SC_PHYS_PAGES);
  const int64_t page_bytes = sysconf(_SC_PAGESIZE);
  if (pages > 0 && page_bytes > 0) info.memory_bytes = static_cast<uint64_t>(pages * page_bytes);
  info.features = {CpuInstructionSet(),
                   fmt::format("{} cores", std::thread::hardware_concurrency())};
  if (CpuHasFastBf16()) info.features.emplace_back("bf16");
  return info;
}

}  // namespace choir::engine
