#ifndef CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PACKED_CALL_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PACKED_CALL_H_

#include <cstdint>

#include "engine/ops/tensor_desc.h"
#include "engine/quant/weight_format.h"

namespace choir::engine::vulkan {

// The number of a packed activation's format in pack.comp and unpack.comp.
inline constexpr uint32_t kPackedBf16 = 0;
inline constexpr uint32_t kPackedQ8_0 = 1;

inline uint32_t PackedFormatNumber(const TensorDesc& desc) {
  return desc.format == &kBF16Format ? kPackedBf16 : kPackedQ8_0;
}

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PACKED_CALL_H_
