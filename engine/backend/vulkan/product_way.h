#ifndef CHOIR_ENGINE_BACKEND_VULKAN_PRODUCT_WAY_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_PRODUCT_WAY_H_

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <utility>

namespace choir::engine {

// How a shader multiplies with a frozen weight (docs/decisions/0027-ways-of-a-product.md).
enum class ProductWay : uint8_t {
  kPlain,   // f32 throughout: on every device, and the only one that --compute f32 allows
  kHalf,    // operands scaled to fp16's range, short sums in fp16, long ones in f32
  kDot,     // up to four tokens: sums of 8-bit integers, 16 bits of the vector
  kMatrix,  // cooperative matrices: operands scaled to fp16's range, sums in f32
};

inline constexpr std::array<std::pair<ProductWay, std::string_view>, 4> kProductWays = {{
    {ProductWay::kPlain, "f32"},
    {ProductWay::kHalf, "fp16"},
    {ProductWay::kDot, "int8"},
    {ProductWay::kMatrix, "matrix"},
}};

constexpr std::string_view NameOf(ProductWay way) {
  for (const auto& [each, name] : kProductWays) {
    if (each == way) return name;
  }
  return "?";
}

constexpr std::optional<ProductWay> WayNamed(std::string_view name) {
  for (const auto& [way, each] : kProductWays) {
    if (each == name) return way;
  }
  return std::nullopt;
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_PRODUCT_WAY_H_
