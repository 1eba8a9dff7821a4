#include "engine/backend/vulkan/program.h"

#include <chrono>
#include <utility>

#include "base/status_macros.h"
#include "engine/backend/vulkan/hazard_tracker.h"
#include "engine/backend/vulkan/result.h"

namespace choir::engine::vulkan {
namespace {

// Recording again costs milliseconds; do it when the submissions are this much too long or short.
constexpr double kReRecordFactor = 3;

double WorkOf(const Command& command) {
  const auto* dispatch = std::get_if<Dispatch>(&command);
  return dispatch == nullptr ? 0 : dispatch->work;
}

std::vector<Access> AccessesOf(const Command& command) {
  if (const auto* dispatch = std::get_if<Dispatch>(&command)) return dispatch->bindings;
  const auto& copy = std::get<Copy>(command);
  return {copy.from, copy.to};
}

void ComputeBarrier(VkCommandBuffer commands) {
  VkMemoryBarrier barrier{};
  barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  barrier.srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_SHADER_WRITE_BIT |
                          VK_ACCESS_TRANSFER_READ_BIT | VK_ACCESS_TRANSFER_WRITE_BIT;
  constexpr VkPipelineStageFlags kStages =
      VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_TRANSFER_BIT;
  vkCmdPipelineBarrier(commands, kStages, kStages, 0, 1, &barrier, 0, nullptr, 0, nullptr);
}

// Before a run's first and after its last command: what other runs wrote, what the host reads.
void EdgeBarrier(VkCommandBuffer commands) {
  VkMemoryBarrier barrier{};
  barrier.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER;
  barrier.srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT;
  barrier.dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT;
  vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT,
                       VK_PIPELINE_STAGE_ALL_COMMANDS_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
                       &barrier, 0, nullptr, 0, nullptr);
}

// Every device reads these formats from uniform texel buffers (Vulkan 1.1, Required Format
// Support).
VkFormat TexelFormat(BindingKind kind) {
  if (kind == BindingKind::kTexels) return VK_FORMAT_R32G32B32A32_SFLOAT;
  return kind == BindingKind::kHalfTexels ? VK_FORMAT_R16G16B16A16_SFLOAT : VK_FORMAT_R32_UINT;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Program>> Program::Create(Device& device, const BufferTable& buffers,
                                                         std::vector<Command> commands,
                                                         std::vector<size_t> marks) {
  std::unique_ptr<Program> program(
      new Program(device, buffers, std::move(commands), std::move(marks)));
  for (UniqueFence& fence : program->fences_) {
    CHOIR_ASSIGN_OR_RETURN(fence, device.CreateFence());
  }
  CHOIR_RETURN_IF_ERROR(program->CreateDescriptorPool());
  CHOIR_RETURN_IF_ERROR(program->CreateQueryPool());
  CHOIR_RETURN_IF_ERROR(program->WriteDescriptors());
  return program;
}

Program::~Program() {
  FreeSubmissions();
}

void Program::FreeSubmissions() {
  for (const VkCommandBuffer commands : submissions_) device_->FreeCommandBuffer(commands);
  submissions_.clear();
}

absl::Status Program::CreateDescriptorPool() {
  uint32_t sets = 0;
  std::array<VkDescriptorPoolSize, 2> sizes{
      {{DescriptorType(BindingKind::kStorage), 0}, {DescriptorType(BindingKind::kTexels), 0}}};
  for (const Command& command : commands_) {
    const auto* dispatch = std::get_if<Dispatch>(&command);
    if (dispatch == nullptr) continue;
    ++sets;
    for (const Access& access : dispatch->bindings) {
      ++sizes[access.kind == BindingKind::kStorage ? 0 : 1].descriptorCount;
    }
  }
  if (sets == 0) return absl::OkStatus();
  VkDescriptorPoolCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO;
  info.maxSets = sets;
  info.poolSizeCount = sizes[1].descriptorCount == 0 ? 1 : 2;
  info.pPoolSizes = sizes.data();
  VkDescriptorPool pool = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkCreateDescriptorPool(device_->get(), &info, nullptr, &pool),
                           "vkCreateDescriptorPool");
  pool_ = UniqueDescriptorPool(device_->get(), pool);
  return absl::OkStatus();
}

absl::Status Program::CreateQueryPool() {
  if (device_->caps().timestamp_seconds == 0) marks_.clear();
  if (marks_.empty()) return absl::OkStatus();
  VkQueryPoolCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO;
  info.queryType = VK_QUERY_TYPE_TIMESTAMP;
  info.queryCount = static_cast<uint32_t>(marks_.size());
  VkQueryPool pool = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkCreateQueryPool(device_->get(), &info, nullptr, &pool),
                           "vkCreateQueryPool");
  times_ = UniqueQueryPool(device_->get(), pool);
  return absl::OkStatus();
}

size_t Program::RecordMarks(VkCommandBuffer commands, size_t done, size_t next) const {
  for (; next < marks_.size() && marks_[next] == done; ++next) {
    vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, times_.get(),
                        static_cast<uint32_t>(next));
  }
  return next;
}

std::vector<double> Program::MarkTimes() const {
  std::vector<uint64_t> ticks(marks_.size());
  if (ticks.empty() || recorded_work_ == 0) return {};
  const VkResult result =
      vkGetQueryPoolResults(device_->get(), times_.get(), 0, static_cast<uint32_t>(ticks.size()),
                            ticks.size() * sizeof(uint64_t), ticks.data(), sizeof(uint64_t),
                            VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
  if (result != VK_SUCCESS) return {};
  std::vector<double> seconds;
  seconds.reserve(ticks.size());
  for (const uint64_t tick : ticks) {
    seconds.push_back(static_cast<double>(tick - ticks[0]) * device_->caps().timestamp_seconds);
  }
  return seconds;
}

absl::Status Program::WriteDescriptors() {
  sets_.assign(commands_.size(), VK_NULL_HANDLE);
  for (size_t i = 0; i < commands_.size(); ++i) {
    const auto* dispatch = std::get_if<Dispatch>(&commands_[i]);
    if (dispatch == nullptr) continue;
    VkDescriptorSetAllocateInfo info{};
    info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO;
    info.descriptorPool = pool_.get();
    info.descriptorSetCount = 1;
    info.pSetLayouts = &dispatch->pipeline->set_layout;
    CHOIR_VK_RETURN_IF_ERROR(vkAllocateDescriptorSets(device_->get(), &info, &sets_[i]),
                             "vkAllocateDescriptorSets");
    CHOIR_RETURN_IF_ERROR(WriteDescriptorSet(*dispatch, sets_[i]));
  }
  return absl::OkStatus();
}

absl::Status Program::WriteDescriptorSet(const Dispatch& dispatch, VkDescriptorSet set) {
  std::vector<VkDescriptorBufferInfo> infos;
  std::vector<VkBufferView> views;
  for (const Access& access : dispatch.bindings) {
    const Range& range = access.range;
    const VulkanBuffer& buffer = *buffers_->at(range.buffer);
    const uint64_t begin = range.offset - BindingRest(access, device_->caps());
    const uint64_t slack = access.reads_past_end ? VulkanBuffer::kSlackBytes : 0;
    const uint64_t unit = BytesOfTexel(access.kind);
    const uint64_t wanted = (range.offset + range.bytes + slack + unit - 1) / unit * unit;
    const uint64_t end = std::min(wanted, buffer.piece_bytes(range.piece));
    infos.push_back({buffer.handle(range.piece), begin, end - begin});
    views.push_back(VK_NULL_HANDLE);
    if (access.kind == BindingKind::kStorage) continue;
    CHOIR_ASSIGN_OR_RETURN(views.back(), CreateView(access.kind, infos.back()));
  }
  std::vector<VkWriteDescriptorSet> writes(infos.size());
  for (uint32_t i = 0; i < writes.size(); ++i) {
    writes[i].sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET;
    writes[i].dstSet = set;
    writes[i].dstBinding = i;
    writes[i].descriptorCount = 1;
    writes[i].descriptorType = DescriptorType(dispatch.bindings[i].kind);
    writes[i].pBufferInfo = &infos[i];
    writes[i].pTexelBufferView = &views[i];
  }
  vkUpdateDescriptorSets(device_->get(), static_cast<uint32_t>(writes.size()), writes.data(), 0,
                         nullptr);
  return absl::OkStatus();
}

absl::StatusOr<VkBufferView> Program::CreateView(BindingKind kind,
                                                 const VkDescriptorBufferInfo& bytes) {
  VkBufferViewCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_BUFFER_VIEW_CREATE_INFO;
  info.buffer = bytes.buffer;
  info.format = TexelFormat(kind);
  info.offset = bytes.offset;
  info.range = bytes.range;
  VkBufferView view = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkCreateBufferView(device_->get(), &info, nullptr, &view),
                           "vkCreateBufferView");
  views_.emplace_back(device_->get(), view);
  return view;
}

absl::StatusOr<VkCommandBuffer> Program::BeginSubmission() {
  CHOIR_ASSIGN_OR_RETURN(const VkCommandBuffer commands, device_->AllocateCommandBuffer());
  submissions_.push_back(commands);
  VkCommandBufferBeginInfo begin{};
  begin.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO;
  CHOIR_VK_RETURN_IF_ERROR(vkBeginCommandBuffer(commands, &begin), "vkBeginCommandBuffer");
  return commands;
}

void Program::RecordCommand(VkCommandBuffer commands, size_t index) const {
  if (const auto* copy = std::get_if<Copy>(&commands_[index])) {
    const Range& from = copy->from.range;
    const Range& to = copy->to.range;
    const VkBufferCopy region{from.offset, to.offset, from.bytes};
    vkCmdCopyBuffer(commands, buffers_->at(from.buffer)->handle(from.piece),
                    buffers_->at(to.buffer)->handle(to.piece), 1, &region);
    return;
  }
  const auto& dispatch = std::get<Dispatch>(commands_[index]);
  const Pipeline& pipeline = *dispatch.pipeline;
  vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.pipeline.get());
  vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline.layout, 0, 1,
                          &sets_[index], 0, nullptr);
  vkCmdPushConstants(commands, pipeline.layout, VK_SHADER_STAGE_COMPUTE_BIT, 0, dispatch.push_bytes,
                     dispatch.push.data());
  vkCmdDispatch(commands, dispatch.groups[0], dispatch.groups[1], dispatch.groups[2]);
}

absl::Status Program::Record(double work_per_submission) {
  FreeSubmissions();
  num_barriers_ = 0;
  HazardTracker hazards;
  CHOIR_ASSIGN_OR_RETURN(VkCommandBuffer commands, BeginSubmission());
  EdgeBarrier(commands);
  if (!marks_.empty()) {
    vkCmdResetQueryPool(commands, times_.get(), 0, static_cast<uint32_t>(marks_.size()));
  }
  size_t mark = RecordMarks(commands, 0, 0);
  double work = 0;
  for (size_t i = 0; i < commands_.size(); ++i) {
    const double next = WorkOf(commands_[i]);
    if (work > 0 && work + next > work_per_submission) {
      CHOIR_VK_RETURN_IF_ERROR(vkEndCommandBuffer(commands), "vkEndCommandBuffer");
      CHOIR_ASSIGN_OR_RETURN(commands, BeginSubmission());
      work = 0;
    }
    work += next;
    if (hazards.Add(AccessesOf(commands_[i]))) {
      ComputeBarrier(commands);
      ++num_barriers_;
    }
    RecordCommand(commands, i);
    mark = RecordMarks(commands, i + 1, mark);
  }
  EdgeBarrier(commands);
  CHOIR_VK_RETURN_IF_ERROR(vkEndCommandBuffer(commands), "vkEndCommandBuffer");
  recorded_work_ = work_per_submission;
  return absl::OkStatus();
}

// Two submissions are under way at any time, so that the GPU does not idle between them.
absl::Status Program::SubmitAll() {
  for (size_t i = 0; i < submissions_.size(); ++i) {
    const VkFence fence = fences_[i % 2].get();
    if (i >= 2) CHOIR_RETURN_IF_ERROR(device_->Wait(fence));
    CHOIR_RETURN_IF_ERROR(device_->Submit(submissions_[i], fence));
  }
  const size_t count = submissions_.size();
  for (size_t i = count < 2 ? 0 : count - 2; i < count; ++i) {
    CHOIR_RETURN_IF_ERROR(device_->Wait(fences_[i % 2].get()));
  }
  return absl::OkStatus();
}

absl::Status Program::Run(Pacer& pacer) {
  const double wanted = pacer.WorkPerSubmission();
  if (recorded_work_ == 0 || wanted > recorded_work_ * kReRecordFactor ||
      wanted * kReRecordFactor < recorded_work_) {
    CHOIR_RETURN_IF_ERROR(Record(wanted));
  }
  const auto start = std::chrono::steady_clock::now();
  CHOIR_RETURN_IF_ERROR(SubmitAll());
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
  double work = 0;
  for (const Command& command : commands_) work += WorkOf(command);
  pacer.Observe(work, took.count());
  return absl::OkStatus();
}

}  // namespace choir::engine::vulkan
