#include <array>

#include "engine/backend/vulkan/kernel.h"
#include "engine/ops/ops.h"

namespace choir::engine::vulkan {
namespace {

constexpr std::array kKernels = {
#define CHOIR_OP(Name) &k##Name##VulkanKernel,
#include "engine/ops/ops.def"
#undef CHOIR_OP
};

}  // namespace

const VulkanKernel& KernelOf(const OpSchema& op) {
  return *kKernels.at(OpIndex(op));
}

}  // namespace choir::engine::vulkan
