#include "engine/backend/vulkan/pipeline_store.h"

#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/backend/vulkan/pipeline_cache_file.h"
#include "engine/backend/vulkan/result.h"
#include "engine/backend/vulkan/shader_table.h"

namespace choir::engine::vulkan {

VkDescriptorType DescriptorType(BindingKind kind) {
  return kind == BindingKind::kStorage ? VK_DESCRIPTOR_TYPE_STORAGE_BUFFER
                                       : VK_DESCRIPTOR_TYPE_UNIFORM_TEXEL_BUFFER;
}

absl::StatusOr<PipelineStore> PipelineStore::Create(Device& device, const std::string& cache_dir) {
  PipelineStore store(device, cache_dir);
  const std::string initial =
      cache_dir.empty() ? std::string() : LoadPipelineCache(cache_dir, device.caps());
  VkPipelineCacheCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO;
  info.initialDataSize = initial.size();
  info.pInitialData = initial.data();
  VkPipelineCache cache = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkCreatePipelineCache(device.get(), &info, nullptr, &cache),
                           "vkCreatePipelineCache");
  store.cache_ = UniquePipelineCache(device.get(), cache);
  return store;
}

absl::StatusOr<const PipelineStore::Layout*> PipelineStore::GetLayout(
    const std::vector<BindingKind>& kinds) {
  if (const auto found = layouts_.find(kinds); found != layouts_.end()) {
    return &found->second;
  }
  std::vector<VkDescriptorSetLayoutBinding> bindings(kinds.size());
  for (uint32_t i = 0; i < bindings.size(); ++i) {
    bindings[i].binding = i;
    bindings[i].descriptorType = DescriptorType(kinds[i]);
    bindings[i].descriptorCount = 1;
    bindings[i].stageFlags = VK_SHADER_STAGE_COMPUTE_BIT;
  }
  VkDescriptorSetLayoutCreateInfo set_info{};
  set_info.sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO;
  set_info.bindingCount = static_cast<uint32_t>(bindings.size());
  set_info.pBindings = bindings.data();
  VkDescriptorSetLayout set = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkCreateDescriptorSetLayout(device_->get(), &set_info, nullptr, &set),
                           "vkCreateDescriptorSetLayout");
  Layout layout;
  layout.set = UniqueDescriptorSetLayout(device_->get(), set);

  const VkPushConstantRange push{VK_SHADER_STAGE_COMPUTE_BIT, 0, kPushBytes};
  VkPipelineLayoutCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO;
  info.setLayoutCount = 1;
  info.pSetLayouts = &set;
  info.pushConstantRangeCount = 1;
  info.pPushConstantRanges = &push;
  VkPipelineLayout handle = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkCreatePipelineLayout(device_->get(), &info, nullptr, &handle),
                           "vkCreatePipelineLayout");
  layout.pipeline = UniquePipelineLayout(device_->get(), handle);
  return &layouts_.emplace(kinds, std::move(layout)).first->second;
}

absl::StatusOr<UniquePipeline> PipelineStore::MakePipeline(std::string_view shader,
                                                           const std::vector<uint32_t>& constants,
                                                           VkPipelineLayout layout,
                                                           bool full_subgroups) {
  const ShaderCode* code = FindShader(shader);
  if (code == nullptr) return absl::InternalError(fmt::format("no shader {} was built", shader));
  VkShaderModuleCreateInfo module_info{};
  module_info.sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO;
  module_info.codeSize = code->words.size_bytes();
  module_info.pCode = code->words.data();
  VkShaderModule module = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(vkCreateShaderModule(device_->get(), &module_info, nullptr, &module),
                           "vkCreateShaderModule");
  const UniqueShaderModule owned(device_->get(), module);

  std::vector<VkSpecializationMapEntry> entries(constants.size());
  for (uint32_t i = 0; i < entries.size(); ++i) {
    entries[i] = {i, static_cast<uint32_t>(i * sizeof(uint32_t)), sizeof(uint32_t)};
  }
  VkSpecializationInfo special{};
  special.mapEntryCount = static_cast<uint32_t>(entries.size());
  special.pMapEntries = entries.data();
  special.dataSize = constants.size() * sizeof(uint32_t);
  special.pData = constants.data();
  VkComputePipelineCreateInfo info{};
  info.sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO;
  info.stage.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO;
  info.stage.stage = VK_SHADER_STAGE_COMPUTE_BIT;
  info.stage.module = module;
  info.stage.pName = "main";
  info.stage.pSpecializationInfo = &special;
  info.layout = layout;
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfoEXT size{};
  size.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO_EXT;
  size.requiredSubgroupSize = device_->caps().subgroup_size;
  if (full_subgroups && device_->caps().full_subgroups) {
    info.stage.flags = VK_PIPELINE_SHADER_STAGE_CREATE_REQUIRE_FULL_SUBGROUPS_BIT_EXT;
    info.stage.pNext = &size;
  }
  VkPipeline pipeline = VK_NULL_HANDLE;
  CHOIR_VK_RETURN_IF_ERROR(
      vkCreateComputePipelines(device_->get(), cache_.get(), 1, &info, nullptr, &pipeline),
      fmt::format("vkCreateComputePipelines({})", shader));
  changed_ = true;
  return UniquePipeline(device_->get(), pipeline);
}

absl::StatusOr<const Pipeline*> PipelineStore::Get(std::string_view shader,
                                                   const std::vector<uint32_t>& constants,
                                                   const std::vector<BindingKind>& bindings,
                                                   bool full_subgroups) {
  const Key key{std::string(shader), constants, bindings};
  if (const auto found = pipelines_.find(key); found != pipelines_.end()) return &found->second;
  CHOIR_ASSIGN_OR_RETURN(const Layout* layout, GetLayout(bindings));
  Pipeline pipeline;
  pipeline.layout = layout->pipeline.get();
  pipeline.set_layout = layout->set.get();
  CHOIR_ASSIGN_OR_RETURN(pipeline.pipeline,
                         MakePipeline(shader, constants, pipeline.layout, full_subgroups));
  return &pipelines_.emplace(key, std::move(pipeline)).first->second;
}

absl::Status PipelineStore::Save() {
  if (cache_dir_.empty() || !changed_) return absl::OkStatus();
  size_t size = 0;
  CHOIR_VK_RETURN_IF_ERROR(vkGetPipelineCacheData(device_->get(), cache_.get(), &size, nullptr),
                           "vkGetPipelineCacheData");
  std::string bytes(size, '\0');
  CHOIR_VK_RETURN_IF_ERROR(
      vkGetPipelineCacheData(device_->get(), cache_.get(), &size, bytes.data()),
      "vkGetPipelineCacheData");
  bytes.resize(size);
  CHOIR_RETURN_IF_ERROR(SavePipelineCache(cache_dir_, device_->caps(), bytes));
  changed_ = false;
  return absl::OkStatus();
}

}  // namespace choir::engine::vulkan
