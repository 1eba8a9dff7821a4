#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/products.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const auto scale = static_cast<float>(context.attrs().Float("scale"));
  return EmitTn(context, context.Input(0), context.Input(1), scale, context.Update(0));
}

}  // namespace

const VulkanKernel kLoraGradVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
