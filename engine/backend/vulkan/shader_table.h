#ifndef CHOIR_ENGINE_BACKEND_VULKAN_SHADER_TABLE_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_SHADER_TABLE_H_

#include <cstdint>
#include <span>
#include <string_view>

namespace choir::engine::vulkan {

// One compiled shader: "add", or "matmul_nt.q8_0" where there is one for each weight format.
struct ShaderCode {
  std::string_view name;
  std::span<const uint32_t> words;  // SPIR-V
};

// All that the build embedded, sorted by name (shader_table.cc is written by the build).
std::span<const ShaderCode> AllShaders();

// Null if there is none of this name.
const ShaderCode* FindShader(std::string_view name);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_SHADER_TABLE_H_
