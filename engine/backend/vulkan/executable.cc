#include "engine/backend/vulkan/executable.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/backend/vulkan/rehearsal.h"

namespace choir::engine::vulkan {
namespace {

// A dispatch's unused bindings point into the workspace, so there is always one.
constexpr uint64_t kLeastBytes = 16;

uint64_t AlignUp(uint64_t value, uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

absl::Status NameNode(const absl::Status& status, const Node& node, size_t index) {
  return absl::Status(status.code(), fmt::format("node {} ({}): {}", index, node.op->name,
                                                 std::string(status.message())));
}

}  // namespace

absl::StatusOr<std::unique_ptr<Executable>> VulkanExecutable::Compile(
    std::shared_ptr<Workshop> workshop, const Graph& graph,
    const std::map<TensorId, Binding>& bindings, Compute compute) {
  std::unique_ptr<VulkanExecutable> made(new VulkanExecutable(std::move(workshop)));
  Device& device = *made->workshop_->device;
  made->plan_ = PlanMemory(graph, static_cast<int64_t>(device.caps().storage_alignment));
  // The arena is mapped exactly where the memory is one.
  made->staged_ = !device.caps().unified_memory;
  CHOIR_RETURN_IF_ERROR(made->Bind(graph, bindings));
  made->PlaceHostSlots(graph);
  std::vector<Command> commands = made->HostCopies(true);
  CHOIR_ASSIGN_OR_RETURN(const uint64_t scratch_bytes, made->RecordNodes(graph, compute, commands));
  CHOIR_RETURN_IF_ERROR(made->Allocate(scratch_bytes));
  const std::vector<Command> last = made->HostCopies(false);
  commands.insert(commands.end(), last.begin(), last.end());
  CHOIR_ASSIGN_OR_RETURN(
      made->program_,
      Program::Create(device, made->buffers_, std::move(commands), std::move(made->node_ends_)));
  CHOIR_RETURN_IF_ERROR(device.ValidationStatus());
  return made;
}

absl::StatusOr<uint64_t> VulkanExecutable::Rehearse(std::shared_ptr<Workshop> workshop,
                                                    const Graph& graph, Compute compute) {
  VulkanExecutable trial(std::move(workshop));
  const Workshop& shop = *trial.workshop_;
  const DeviceCaps& caps = shop.device->caps();
  trial.plan_ = PlanMemory(graph, static_cast<int64_t>(caps.storage_alignment));
  trial.staged_ = !caps.unified_memory;
  std::map<TensorId, Binding> bindings;
  for (size_t i = 0; i < graph.tensors().size(); ++i) {
    const Tensor& tensor = graph.tensors()[i];
    if (tensor.kind != TensorKind::kPersistent) continue;
    const bool weight = tensor.desc.dtype == DType::kWeight;
    bindings[static_cast<TensorId>(i)].buffer = VulkanBuffer::Planned(
        shop.device, static_cast<uint64_t>(SizeBytes(tensor.desc)),
        weight ? shop.max_weight_allocation_bytes : shop.max_allocation_bytes);
  }
  CHOIR_RETURN_IF_ERROR(trial.Bind(graph, bindings));
  trial.PlaceHostSlots(graph);
  std::vector<Command> commands;
  CHOIR_ASSIGN_OR_RETURN(const uint64_t scratch_bytes, trial.RecordNodes(graph, compute, commands));
  if (caps.IsSoftware()) CHOIR_RETURN_IF_ERROR(RunOverNothing(shop.device, commands));
  return std::max(scratch_bytes, kLeastBytes) + trial.host_side_bytes_;
}

absl::Status VulkanExecutable::Bind(const Graph& graph,
                                    const std::map<TensorId, Binding>& bindings) {
  for (size_t i = 0; i < graph.tensors().size(); ++i) {
    const Tensor& tensor = graph.tensors()[i];
    TensorView view{tensor.desc, BufferTable::kArena, 0};
    if (tensor.kind == TensorKind::kPersistent) {
      const auto found = bindings.find(static_cast<TensorId>(i));
      if (found == bindings.end() || found->second.buffer == nullptr) {
        return absl::InvalidArgumentError(
            fmt::format("tensor {} is bound to nothing", tensor.name));
      }
      const auto buffer = std::dynamic_pointer_cast<VulkanBuffer>(found->second.buffer);
      if (buffer == nullptr || buffer->device() != workshop_->device.get()) {
        return absl::InvalidArgumentError(
            fmt::format("tensor {} is bound to a buffer of another backend", tensor.name));
      }
      const uint64_t offset = found->second.offset_bytes;
      const auto bytes = static_cast<uint64_t>(SizeBytes(tensor.desc));
      if (offset % 4 != 0 || offset > buffer->size_bytes() ||
          bytes > buffer->size_bytes() - offset) {
        return absl::InvalidArgumentError(
            fmt::format("tensor {}: bytes [{}, +{}) are no 4-byte-aligned part of a buffer of {}",
                        tensor.name, offset, bytes, buffer->size_bytes()));
      }
      view.buffer = buffers_.Add(buffer);
      view.offset_bytes = offset;
    } else if (plan_.offsets[i] >= 0) {
      view.offset_bytes = static_cast<uint64_t>(plan_.offsets[i]);
    }
    views_.push_back(view);
  }
  return absl::OkStatus();
}

void VulkanExecutable::PlaceHostSlots(const Graph& graph) {
  for (size_t i = 0; i < graph.tensors().size(); ++i) {
    const Tensor& tensor = graph.tensors()[i];
    const bool is_input = tensor.kind == TensorKind::kInput;
    if ((!is_input && !tensor.is_output) || plan_.offsets[i] < 0) continue;
    HostSlot slot;
    slot.is_input = is_input;
    slot.bytes = static_cast<uint64_t>(SizeBytes(tensor.desc));
    slot.offset = staged_ ? host_side_bytes_ : static_cast<uint64_t>(plan_.offsets[i]);
    if (staged_) host_side_bytes_ = AlignUp(host_side_bytes_ + slot.bytes, 16);
    host_slots_[static_cast<TensorId>(i)] = slot;
  }
}

std::vector<Command> VulkanExecutable::HostCopies(bool inputs) const {
  std::vector<Command> copies;
  if (!staged_) return copies;
  for (const auto& [id, slot] : host_slots_) {
    if (slot.is_input != inputs) continue;
    const Range host{BufferTable::kHostSide, 0, slot.offset, slot.bytes};
    const Range arena{BufferTable::kArena, 0, views_[static_cast<size_t>(id)].offset_bytes,
                      slot.bytes};
    const Range& from = inputs ? host : arena;
    const Range& to = inputs ? arena : host;
    copies.emplace_back(Copy{{from, true, false}, {to, false, true}});
  }
  return copies;
}

std::vector<TensorView> VulkanExecutable::Views(const std::vector<TensorId>& ids) const {
  std::vector<TensorView> views;
  views.reserve(ids.size());
  for (const TensorId id : ids) views.push_back(views_[static_cast<size_t>(id)]);
  return views;
}

absl::StatusOr<uint64_t> VulkanExecutable::RecordNodes(const Graph& graph, Compute compute,
                                                       std::vector<Command>& commands) {
  KernelContext context(workshop_->device, workshop_->pipelines, workshop_->tuner, buffers_,
                        workshop_->max_weight_binding_bytes, workshop_->pacer.WorkPerSubmission(),
                        compute);
  if (workshop_->profile) node_ends_.push_back(commands.size());
  for (size_t i = 0; i < graph.nodes().size(); ++i) {
    const Node& node = graph.nodes()[i];
    context.BeginNode(node, Views(node.inputs), Views(node.outputs), Views(node.updates));
    const absl::Status status = KernelOf(*node.op).record(context);
    if (!status.ok()) return NameNode(status, node, i);
    if (workshop_->profile) node_ends_.push_back(commands.size() + context.commands().size());
  }
  for (Command& command : context.commands()) commands.push_back(std::move(command));
  return context.scratch_bytes();
}

absl::Status VulkanExecutable::Allocate(uint64_t scratch_bytes) {
  scratch_bytes = std::max(scratch_bytes, kLeastBytes);
  const uint64_t arena_bytes =
      std::max(static_cast<uint64_t>(std::max<int64_t>(plan_.arena_bytes, 0)), kLeastBytes);
  const std::pair<uint32_t, uint64_t> wanted[] = {
      {BufferTable::kArena, arena_bytes},
      {BufferTable::kWorkspace, scratch_bytes},
      {BufferTable::kHostSide, std::max(host_side_bytes_, kLeastBytes)},
  };
  for (const auto& [index, bytes] : wanted) {
    const bool host = index == BufferTable::kHostSide;
    if (host && !staged_) continue;
    CHOIR_ASSIGN_OR_RETURN(std::shared_ptr<VulkanBuffer> buffer,
                           VulkanBuffer::Create(workshop_->device, bytes,
                                                host ? MemoryUsage::kHost : MemoryUsage::kDevice,
                                                false, workshop_->max_allocation_bytes));
    buffers_.Set(index, std::move(buffer));
  }
  // Unified memory that could only be had unmapped would leave the host nowhere to write.
  if (!staged_ && buffers_.at(BufferTable::kArena)->mapped() == nullptr) {
    return absl::InternalError("the device's shared memory could not be mapped");
  }
  memory_use_ = {arena_bytes, scratch_bytes + host_side_bytes_};
  return absl::OkStatus();
}

absl::StatusOr<uint8_t*> VulkanExecutable::HostMemory(TensorId id, bool input, size_t bytes) {
  const auto slot = host_slots_.find(id);
  if (slot == host_slots_.end() || slot->second.is_input != input) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {} is no {} of this graph", id, input ? "input" : "output"));
  }
  if (slot->second.bytes != bytes) {
    return absl::InvalidArgumentError(
        fmt::format("tensor {} has {} bytes, not {}", id, slot->second.bytes, bytes));
  }
  const uint32_t buffer = staged_ ? BufferTable::kHostSide : BufferTable::kArena;
  return buffers_.at(buffer)->mapped() + slot->second.offset;
}

absl::Status VulkanExecutable::WriteInput(TensorId input, std::span<const uint8_t> bytes) {
  CHOIR_ASSIGN_OR_RETURN(uint8_t * memory, HostMemory(input, true, bytes.size()));
  std::memcpy(memory, bytes.data(), bytes.size());
  return absl::OkStatus();
}

absl::Status VulkanExecutable::Run() {
  CHOIR_RETURN_IF_ERROR(program_->Run(workshop_->pacer));
  return workshop_->device->ValidationStatus();
}

std::vector<NodeTime> VulkanExecutable::LastRunTimes() const {
  const std::vector<double> marks = program_->MarkTimes();
  std::vector<NodeTime> times;
  for (size_t i = 1; i < marks.size(); ++i)
    times.push_back({marks[i - 1], marks[i] - marks[i - 1]});
  return times;
}

absl::Status VulkanExecutable::ReadOutput(TensorId output, std::span<uint8_t> bytes) {
  CHOIR_ASSIGN_OR_RETURN(const uint8_t* memory, HostMemory(output, false, bytes.size()));
  std::memcpy(bytes.data(), memory, bytes.size());
  return absl::OkStatus();
}

}  // namespace choir::engine::vulkan
