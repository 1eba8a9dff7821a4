#ifndef CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_LANE_ATTENTION_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_LANE_ATTENTION_H_

// Attention for a device that is a CPU (docs/decisions/0024-lane-shaders.md): the same results from
// lane_attention*.comp. Inputs and outputs are those of the ops.

#include "absl/status/status.h"

#include "engine/backend/vulkan/kernels/attention_call.h"

namespace choir::engine::vulkan {

// Whether the shaders can do it. They read the op's first `num_texels` inputs as texels.
bool FitsLanes(const KernelContext& context, const AttentionCall& call, size_t num_texels);

// Whether the shader for a cache can: keys and values of f32 or f16.
bool FitsLanesCached(const KernelContext& context, const AttentionCall& call);
absl::Status EmitLaneCachedAttention(KernelContext& context, const AttentionCall& call);

absl::Status EmitLaneAttention(KernelContext& context, const AttentionCall& call);
// `delta`: (T, H).
absl::Status EmitLaneAttentionBackward(KernelContext& context, const AttentionCall& call,
                                       const TensorView& delta);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_LANE_ATTENTION_H_
