#ifndef CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PRODUCT_EMIT_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PRODUCT_EMIT_H_

// The dispatches of a product by a given choice; products.h chooses.

#include <cstdint>
#include <string>

#include "absl/status/status.h"

#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/products.h"
#include "engine/backend/vulkan/tuning_table.h"

namespace choir::engine::vulkan {

// At most this many tokens go through matvec, which reads the weights once for all of them; beyond,
// the tiled product is faster.
inline constexpr uint32_t kMaxMatvecTokens = 4;

inline bool IsFew(const NtProduct& product) {
  return product.x.desc.shape.rows <= kMaxMatvecTokens;
}

// Not every build and format has a shader of every way (FindShader). The tuner knows a product by
// the plain one's.
std::string ShaderOf(const NtProduct& product, ProductWay way = ProductWay::kPlain);
std::string ShaderOf(const NnProduct& product, ProductWay way = ProductWay::kPlain);

// Operations.
double WorkOf(const NtProduct& product);
double WorkOf(const NnProduct& product);

// The choice's way must be one that the device has (kernels/products.cc).
absl::Status EmitBy(KernelContext& context, const NtProduct& product, const Choice& choice);
absl::Status EmitBy(KernelContext& context, const NnProduct& product, const Choice& choice);

// Workgroups of a result of rows x cols, of 16 x 16 invocations with a block each.
inline int64_t GroupsM(const Block& block, int64_t rows) {
  return (rows + 16 * block.m - 1) / (16 * block.m);
}
inline int64_t GroupsN(const Block& block, int64_t cols) {
  return (cols + 16 * block.n - 1) / (16 * block.n);
}

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PRODUCT_EMIT_H_
