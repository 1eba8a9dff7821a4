#ifndef CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_DROPOUT_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_DROPOUT_H_

// LoRA dropout as dispatches (engine/ops/dropout_mask.h).

#include <cstddef>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {

// x, or where the call has dropout (its key is input `key`) its copy through the mask, in scratch.
absl::StatusOr<TensorView> DroppedInput(KernelContext& context, const TensorView& x, size_t key);

// out += x through the mask of this call, which has dropout.
absl::Status AddDropped(KernelContext& context, const TensorView& x, size_t key,
                        const TensorView& out);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_DROPOUT_H_
