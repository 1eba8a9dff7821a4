#include "engine/backend/vulkan/vulkan_backend.h"

#include <algorithm>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/backend/vulkan/executable.h"
#include "engine/backend/vulkan/instance.h"
#include "engine/backend/vulkan/shader_table.h"

namespace choir::engine {
namespace vulkan {
namespace {

// Below the driver's limit by what a buffer adds to the bytes that it holds.
constexpr uint64_t kAllocationReserveBytes = 4096;

class VulkanBackend final : public Backend {
 public:
  VulkanBackend(std::shared_ptr<Workshop> workshop, uint64_t memory_bytes)
      : workshop_(std::move(workshop)),
        info_(ToDeviceInfo(workshop_->device->physical(), workshop_->device->caps())) {
    info_.max_buffer_range_bytes = workshop_->max_weight_binding_bytes;
    if (memory_bytes != 0) info_.memory_bytes = std::min(info_.memory_bytes, memory_bytes);
    info_.ways = workshop_->tuner.table().Describe();
  }

  ~VulkanBackend() override {
    // A cache that cannot be written costs the next start some seconds and nothing else.
    static_cast<void>(workshop_->pipelines.Save());
    static_cast<void>(workshop_->tuner.Save());
  }

  [[nodiscard]] const DeviceInfo& info() const override { return info_; }

  absl::StatusOr<std::shared_ptr<DeviceBuffer>> WrapWeights(
      std::span<const uint8_t> bytes) override {
    CHOIR_ASSIGN_OR_RETURN(
        const std::shared_ptr<VulkanBuffer> buffer,
        VulkanBuffer::Create(workshop_->device, bytes.size(), MemoryUsage::kDevice, true,
                             workshop_->max_weight_allocation_bytes));
    CHOIR_RETURN_IF_ERROR(buffer->Write(0, bytes));
    return buffer;
  }

  absl::StatusOr<std::shared_ptr<DeviceBuffer>> Allocate(uint64_t size_bytes) override {
    return VulkanBuffer::Create(workshop_->device, size_bytes, MemoryUsage::kDevice, false,
                                workshop_->max_allocation_bytes);
  }

  absl::Status Write(DeviceBuffer& buffer, uint64_t offset_bytes,
                     std::span<const uint8_t> bytes) override {
    auto* own = dynamic_cast<VulkanBuffer*>(&buffer);
    if (own == nullptr) return ForeignBuffer();
    return own->Write(offset_bytes, bytes);
  }

  absl::Status Read(const DeviceBuffer& buffer, uint64_t offset_bytes,
                    std::span<uint8_t> bytes) override {
    const auto* own = dynamic_cast<const VulkanBuffer*>(&buffer);
    if (own == nullptr) return ForeignBuffer();
    return own->Read(offset_bytes, bytes);
  }

  [[nodiscard]] absl::Status Supports(const Graph& graph, const Node& node) const override {
    for (const TensorId id : node.inputs) {
      const TensorDesc& desc = graph.tensor(id).desc;
      // Every format has all the variants, so one of them stands for the rest.
      if (desc.dtype != DType::kWeight || FindShader("embed." + FormatName(desc)) != nullptr) {
        continue;
      }
      return absl::UnimplementedError(
          fmt::format("{}: the Vulkan backend does not read weights of format {} yet",
                      node.op->name, FormatName(desc)));
    }
    return absl::OkStatus();
  }

  [[nodiscard]] DeviceMemoryUse memory_use() const override {
    return workshop_->device->memory_use();
  }

  absl::StatusOr<uint64_t> WorkspaceBytes(const Graph& graph,
                                          const CompileOptions& options) override {
    for (const Node& node : graph.nodes()) CHOIR_RETURN_IF_ERROR(Supports(graph, node));
    return VulkanExecutable::Rehearse(workshop_, graph, options.compute);
  }

  absl::StatusOr<std::unique_ptr<Executable>> Compile(const Graph& graph,
                                                      const std::map<TensorId, Binding>& bindings,
                                                      const CompileOptions& options) override {
    for (const Node& node : graph.nodes()) CHOIR_RETURN_IF_ERROR(Supports(graph, node));
    auto made = VulkanExecutable::Compile(workshop_, graph, bindings, options.compute);
    info_.ways = workshop_->tuner.table().Describe();
    return made;
  }

 private:
  static absl::Status ForeignBuffer() {
    return absl::InvalidArgumentError("the buffer belongs to another backend");
  }

  std::shared_ptr<Workshop> workshop_;
  DeviceInfo info_;
};

uint64_t LimitOr(uint64_t wanted, uint64_t device_limit) {
  return wanted == 0 ? device_limit : std::min(wanted, device_limit);
}

}  // namespace
}  // namespace vulkan

absl::StatusOr<std::unique_ptr<Backend>> CreateVulkanBackend(const VulkanOptions& options) {
  return CreateVulkanBackend(
      options, options.validation ? std::make_shared<vulkan::ValidationLog>() : nullptr);
}

absl::StatusOr<std::unique_ptr<Backend>> CreateVulkanBackend(
    const VulkanOptions& options, std::shared_ptr<vulkan::ValidationLog> log) {
  using namespace vulkan;  // NOLINT(google-build-using-namespace): this file is its door
  CHOIR_ASSIGN_OR_RETURN(Instance instance, Instance::Create(std::move(log)));
  CHOIR_ASSIGN_OR_RETURN(
      std::unique_ptr<Device> opened,
      Device::Open(std::move(instance),
                   {options.device_index, options.map_device_memory, options.subgroups,
                    options.lanes_on_software, options.way != ProductWay::kPlain}));
  std::shared_ptr<Device> device = std::move(opened);
  CHOIR_ASSIGN_OR_RETURN(PipelineStore pipelines,
                         PipelineStore::Create(*device, options.pipeline_cache_dir));
  const DeviceCaps& caps = device->caps();
  const Pacer pacer(caps.type, options.work_per_submission);
  const uint64_t max_allocation = caps.max_allocation_bytes - kAllocationReserveBytes;
  Workshop workshop{
      device,
      std::move(pipelines),
      ProductTuner(TuningPath(options.pipeline_cache_dir, caps), ShaderVersion(), options.way),
      pacer,
      LimitOr(options.max_weight_binding_bytes, caps.max_binding_bytes),
      LimitOr(options.max_weight_allocation_bytes, max_allocation),
      max_allocation,
      options.profile};
  return std::make_unique<VulkanBackend>(std::make_shared<Workshop>(std::move(workshop)),
                                         options.memory_bytes);
}

std::vector<DeviceInfo> ListVulkanDevices(const std::string& pipeline_cache_dir) {
  using namespace vulkan;  // NOLINT(google-build-using-namespace): this file is its door
  std::vector<DeviceInfo> infos;
  const auto instance = Instance::Create(nullptr);
  if (!instance.ok()) return infos;
  const auto devices = instance->PhysicalDevices();
  if (!devices.ok()) return infos;
  for (const VkPhysicalDevice physical : *devices) {
    const DeviceCaps caps = ProbeDevice(instance->get(), physical);
    infos.push_back(ToDeviceInfo(physical, caps));
    infos.back().ways = ReadTuning(TuningPath(pipeline_cache_dir, caps)).Describe();
  }
  return infos;
}

}  // namespace choir::engine
