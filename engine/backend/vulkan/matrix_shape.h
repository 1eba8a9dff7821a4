#ifndef CHOIR_ENGINE_BACKEND_VULKAN_MATRIX_SHAPE_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_MATRIX_SHAPE_H_

#include <cstdint>
#include <vector>

#include <vulkan/vulkan.h>

namespace choir::engine::vulkan {

class DeviceExtensions;

// A product of cooperative matrices: (m, k) x (k, n) of fp16, sums of f32, by one subgroup.
struct MatrixShape {
  uint32_t m = 0;  // 0: there is none
  uint32_t n = 0;
  uint32_t k = 0;
  friend bool operator==(const MatrixShape&, const MatrixShape&) = default;
};

// The extension that this build's shaders were compiled for (matrix_multiply.glsl), as its compiler
// and headers allowed; empty: they have none.
const char* MatrixExtension();

// Of the shapes that a device multiplies, the one that matrix_multiply.glsl can use: 16 x 16 x 16
// before all others. Pure.
MatrixShape BestMatrixShape(const std::vector<MatrixShape>& shapes);

// Asks the driver. None if the device or the build lacks the extension.
MatrixShape ProbeMatrixShape(VkInstance instance, VkPhysicalDevice device,
                             const DeviceExtensions& extensions);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_MATRIX_SHAPE_H_
