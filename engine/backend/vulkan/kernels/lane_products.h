#ifndef CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_LANE_PRODUCTS_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_LANE_PRODUCTS_H_

// The products of products.h for a device that is a CPU (docs/decisions/0024-lane-shaders.md): the
// same results from lane_product.comp. A quantised weight becomes f32 first, a few MiB at a time,
// in memory that the next rows overwrite.

#include "absl/status/status.h"

#include "engine/backend/vulkan/kernels/products.h"

namespace choir::engine::vulkan {

// Whether lane_product.comp can do it: the device is a CPU, and every row begins at a whole texel
// of four f32.
bool FitsLanes(const KernelContext& context, const NtProduct& product);
bool FitsLanes(const KernelContext& context, const NnProduct& product);
bool FitsLanes(const KernelContext& context, const TensorView& a, const TensorView& b);

absl::Status EmitLaneNt(KernelContext& context, const NtProduct& product);
absl::Status EmitLaneNn(KernelContext& context, const NnProduct& product);
absl::Status EmitLaneTn(KernelContext& context, const TensorView& a, const TensorView& b,
                        float alpha, const TensorView& out);

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_LANE_PRODUCTS_H_
