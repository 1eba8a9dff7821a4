#include <algorithm>

#include "engine/backend/vulkan/shader_table.h"

namespace choir::engine::vulkan {

const ShaderCode* FindShader(std::string_view name) {
  const std::span<const ShaderCode> all = AllShaders();
  const auto found =
      std::find_if(all.begin(), all.end(), [name](const ShaderCode& s) { return s.name == name; });
  return found == all.end() ? nullptr : &*found;
}

}  // namespace choir::engine::vulkan
