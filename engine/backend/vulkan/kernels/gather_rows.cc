#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {
namespace {

absl::Status Record(KernelContext& context) {
  const Shape x = context.Input(0).desc.shape;
  const Shape y = context.Output(0).desc.shape;
  return context.Shader("gather_rows")
      .Read(context.Input(0))
      .Read(context.Input(1))
      .Write(context.Output(0))
      .Push(y.cols)
      .Push(x.rows)
      .Groups((y.cols + 63) / 64, y.rows)
      .Work(static_cast<double>(y.NumElements()))
      .Emit();
}

}  // namespace

const VulkanKernel kGatherRowsVulkanKernel = {Record};

}  // namespace choir::engine::vulkan
