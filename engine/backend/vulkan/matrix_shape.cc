#include "engine/backend/vulkan/matrix_shape.h"

#include "engine/backend/vulkan/device_features.h"

namespace choir::engine::vulkan {
namespace {

// kPart, kStep and the room for results in matrix_multiply.glsl.
constexpr uint32_t kPart = 32;
constexpr uint32_t kStep = 32;
constexpr uint32_t kMaxResults = 256;

bool Fits(const MatrixShape& shape) {
  return shape.m > 0 && shape.n > 0 && shape.k > 0 && kPart % shape.m == 0 &&
         kPart % shape.n == 0 && kStep % shape.k == 0 && shape.m * shape.n <= kMaxResults;
}

// CHOIR_MATRIX_KHR and CHOIR_MATRIX_NV: by the build (shaders.cmake).
#if defined(CHOIR_MATRIX_KHR)

std::vector<MatrixShape> AskShapes(VkInstance instance, VkPhysicalDevice device) {
  const auto ask = reinterpret_cast<PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR>(
      vkGetInstanceProcAddr(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesKHR"));
  uint32_t count = 0;
  if (ask == nullptr || ask(device, &count, nullptr) != VK_SUCCESS) return {};
  VkCooperativeMatrixPropertiesKHR empty{};
  empty.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_KHR;
  std::vector<VkCooperativeMatrixPropertiesKHR> all(count, empty);
  if (ask(device, &count, all.data()) != VK_SUCCESS) return {};
  all.resize(count);
  std::vector<MatrixShape> shapes;
  for (const VkCooperativeMatrixPropertiesKHR& each : all) {
    if (each.AType == VK_COMPONENT_TYPE_FLOAT16_KHR && each.BType == each.AType &&
        each.CType == VK_COMPONENT_TYPE_FLOAT32_KHR && each.ResultType == each.CType &&
        each.saturatingAccumulation == VK_FALSE && each.scope == VK_SCOPE_SUBGROUP_KHR) {
      shapes.push_back({each.MSize, each.NSize, each.KSize});
    }
  }
  return shapes;
}

#elif defined(CHOIR_MATRIX_NV)

std::vector<MatrixShape> AskShapes(VkInstance instance, VkPhysicalDevice device) {
  const auto ask = reinterpret_cast<PFN_vkGetPhysicalDeviceCooperativeMatrixPropertiesNV>(
      vkGetInstanceProcAddr(instance, "vkGetPhysicalDeviceCooperativeMatrixPropertiesNV"));
  uint32_t count = 0;
  if (ask == nullptr || ask(device, &count, nullptr) != VK_SUCCESS) return {};
  VkCooperativeMatrixPropertiesNV empty{};
  empty.sType = VK_STRUCTURE_TYPE_COOPERATIVE_MATRIX_PROPERTIES_NV;
  std::vector<VkCooperativeMatrixPropertiesNV> all(count, empty);
  if (ask(device, &count, all.data()) != VK_SUCCESS) return {};
  all.resize(count);
  std::vector<MatrixShape> shapes;
  for (const VkCooperativeMatrixPropertiesNV& each : all) {
    if (each.AType == VK_COMPONENT_TYPE_FLOAT16_NV && each.BType == each.AType &&
        each.CType == VK_COMPONENT_TYPE_FLOAT32_NV && each.DType == each.CType &&
        each.scope == VK_SCOPE_SUBGROUP_NV) {
      shapes.push_back({each.MSize, each.NSize, each.KSize});
    }
  }
  return shapes;
}

#else

std::vector<MatrixShape> AskShapes(VkInstance /*instance*/, VkPhysicalDevice /*device*/) {
  return {};
}

#endif

}  // namespace

const char* MatrixExtension() {
#if defined(CHOIR_MATRIX_KHR)
  return VK_KHR_COOPERATIVE_MATRIX_EXTENSION_NAME;
#elif defined(CHOIR_MATRIX_NV)
  return VK_NV_COOPERATIVE_MATRIX_EXTENSION_NAME;
#else
  return "";
#endif
}

MatrixShape BestMatrixShape(const std::vector<MatrixShape>& shapes) {
  constexpr MatrixShape kBest{16, 16, 16};
  MatrixShape found;
  for (const MatrixShape& shape : shapes) {
    if (shape == kBest) return shape;
    // Else the most products by one instruction.
    if (Fits(shape) && shape.m * shape.n * shape.k > found.m * found.n * found.k) found = shape;
  }
  return found;
}

MatrixShape ProbeMatrixShape(VkInstance instance, VkPhysicalDevice device,
                             const DeviceExtensions& extensions) {
  // Its shaders are written in the Vulkan memory model.
  if (!extensions.Has(MatrixExtension()) ||
      !extensions.Has(VK_KHR_VULKAN_MEMORY_MODEL_EXTENSION_NAME)) {
    return {};
  }
  return BestMatrixShape(AskShapes(instance, device));
}

}  // namespace choir::engine::vulkan
