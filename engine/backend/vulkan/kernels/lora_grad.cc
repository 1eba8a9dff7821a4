#include "base/status_macros.h"
#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/dropout.h"
#include "engine/backend/vulkan/kernels/products.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const auto scale = static_cast<float>(context.attrs().Float("scale"));
  CHOIR_ASSIGN_OR_RETURN(const TensorView q, DroppedInput(context, context.Input(1), 2));
  return EmitTn(context, context.Input(0), q, scale, context.Update(0));
}

}  // namespace

const VulkanKernel kLoraGradVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
