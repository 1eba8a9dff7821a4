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

// What a shader sees at a binding.
enum class BindingKind : uint8_t {
  kStorage,     // a storage buffer
  kTexels,      // a texel buffer of four f32: reads only
  kHalfTexels,  // a texel buffer of four f16: reads only
  kWordTexels,  // a texel buffer of single 32-bit words: reads only
};

// Every pipeline has its bindings at set 0, numbers 0.., and this many bytes of push constants (the
// least that Vulkan guarantees).
inline constexpr uint32_t kPushBytes = 128;

VkDescriptorType DescriptorType(BindingKind kind);
// What a binding of this kind counts in; words of a storage buffer.
constexpr uint64_t BytesOfTexel(BindingKind kind) {
  if (kind == BindingKind::kTexels) return 16;
  return kind == BindingKind::kHalfTexels ? 8 : 4;
}

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
  // long as the store. `full_subgroups`, always the same for a shader: its subgroups must have the
  // device's size and none be cut, where the device lets that be asked. INTERNAL if no such shader
  // was built.
  absl::StatusOr<const Pipeline*> Get(std::string_view shader,
                                      const std::vector<uint32_t>& constants,
                                      const std::vector<BindingKind>& bindings,
                                      bool full_subgroups);

  // Writes the cache file if pipelines were made since it was last written.
  absl::Status Save();

 private:
  struct Layout {
    UniqueDescriptorSetLayout set;
    UniquePipelineLayout pipeline;
  };
  using Key = std::tuple<std::string, std::vector<uint32_t>, std::vector<BindingKind>>;

  PipelineStore(Device& device, std::string cache_dir)
      : device_(&device), cache_dir_(std::move(cache_dir)) {}
  absl::StatusOr<const Layout*> GetLayout(const std::vector<BindingKind>& kinds);
  absl::StatusOr<UniquePipeline> MakePipeline(std::string_view shader,
                                              const std::vector<uint32_t>& constants,
                                              VkPipelineLayout layout, bool full_subgroups);

  Device* device_;
  std::string cache_dir_;
  UniquePipelineCache cache_;
  bool changed_ = false;
  std::map<std::vector<BindingKind>, Layout> layouts_;
  std::map<Key, Pipeline> pipelines_;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_PIPELINE_STORE_H_
