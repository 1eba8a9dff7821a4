#ifndef CHOIR_ENGINE_BACKEND_VULKAN_PIPELINE_STORE_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_PIPELINE_STORE_H_

#include <map>
#include <string>
#include <string_view>
#include <tuple>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/vulkan/device.h"
#include "engine/backend/vulkan/handle.h"

namespace choir::engine::vulkan {

// Every pipeline takes `num_bindings` storage buffers at set 0, bindings 0.., and this many bytes
// of push constants (the least that Vulkan guarantees).
inline constexpr uint32_t kPushBytes = 128;

struct Pipeline {
  UniquePipeline pipeline;
  VkPipelineLayout layout = VK_NULL_HANDLE;           // the store's
  VkDescriptorSetLayout set_layout = VK_NULL_HANDLE;  // the store's
};

// Makes each pipeline once; keeps the driver's cache in a file if a folder is given.
class PipelineStore {
 public:
  // The device must outlive the store.
  static absl::StatusOr<PipelineStore> Create(Device& device, const std::string& cache_dir);

  // `constants` are the values of specialisation constants 0, 1, ... The pointer stays valid as
  // long as the store. INTERNAL if no such shader was built.
  absl::StatusOr<const Pipeline*> Get(std::string_view shader,
                                      const std::vector<uint32_t>& constants,
                                      uint32_t num_bindings);

  // Writes the cache file if pipelines were made since it was last written.
  absl::Status Save();

 private:
  struct Layout {
    UniqueDescriptorSetLayout set;
    UniquePipelineLayout pipeline;
  };
  using Key = std::tuple<std::string, std::vector<uint32_t>, uint32_t>;

  PipelineStore(Device& device, std::string cache_dir)
      : device_(&device), cache_dir_(std::move(cache_dir)) {}
  absl::StatusOr<const Layout*> GetLayout(uint32_t num_bindings);
  absl::StatusOr<UniquePipeline> MakePipeline(std::string_view shader,
                                              const std::vector<uint32_t>& constants,
                                              VkPipelineLayout layout);

  Device* device_;
  std::string cache_dir_;
  UniquePipelineCache cache_;
  bool changed_ = false;
  std::map<uint32_t, Layout> layouts_;
  std::map<Key, Pipeline> pipelines_;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_PIPELINE_STORE_H_
