#ifndef CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_ATTENTION_CALL_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_ATTENTION_CALL_H_

#include <cstdint>

#include "engine/backend/vulkan/kernel.h"

namespace choir::engine::vulkan {

// Sizes and constants that the three attention ops share.
struct AttentionCall {
  int64_t tokens;
  int64_t keys;
  int64_t heads;
  int64_t kv_heads;
  int64_t head_size;
  int64_t window;
  float scale;
  float softcap;

  AttentionCall(const KernelContext& context, const Shape& q, const Shape& k)
      : tokens(q.rows),
        keys(k.rows),
        heads(q.cols / context.attrs().Int("head_size")),
        kv_heads(k.cols / context.attrs().Int("head_size")),
        head_size(context.attrs().Int("head_size")),
        window(context.attrs().Int("window")),
        scale(static_cast<float>(context.attrs().Float("scale"))),
        softcap(static_cast<float>(context.attrs().Float("softcap"))) {}

  // Columns of a head that one of `lanes` invocations holds.
  [[nodiscard]] uint32_t Columns(int64_t lanes) const {
    return static_cast<uint32_t>((head_size + lanes - 1) / lanes);
  }
  // Operations of `products` products over all visible pairs, if half of them are.
  [[nodiscard]] double Work(int products) const {
    return static_cast<double>(products) * static_cast<double>(tokens * keys) *
           static_cast<double>(heads * head_size);
  }
};

// The number of a KV cache's format in the shaders (kv_elements.glsl).
inline constexpr uint32_t kKvF32 = 0;
inline constexpr uint32_t kKvF16 = 1;
inline constexpr uint32_t kKvQ8_0 = 2;
uint32_t KvFormatOf(const TensorDesc& desc);

// Forward, causal within segments or (cached) over a cache. `place`: segments, or the start row.
// `lse` may be null when cached.
absl::Status EmitAttention(KernelContext& context, bool cached, const TensorView* lse);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_ATTENTION_CALL_H_
