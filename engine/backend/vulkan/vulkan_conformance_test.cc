#include <gtest/gtest.h>

#include "engine/backend/conformance.h"
#include "engine/backend/vulkan/vulkan_test_device.h"

namespace choir::engine {
namespace {

// The harness fails on any error Status, and with validation on every message of the layers is one.
TEST(VulkanConformanceTest, EveryOpEqualsItsReferenceAndTheLayersAreSilent) {
  CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.validation = true}));
  RunOpConformance(*backend, {});
}

// The shaders of GPUs, where the only device is a CPU, which has shaders of its own.
TEST(VulkanConformanceTest, ShadersForGpusEqualTheReferenceOnASoftwareDevice) {
  CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.validation = true, .lanes_on_software = false}));
  RunOpConformance(*backend, {});
}

// Weights in tiles of a few rows and in several allocations.
TEST(VulkanConformanceTest, SmallLimitsChangeNothing) {
  CHOIR_VULKAN_OR_SKIP(backend, (VulkanOptions{.validation = true,
                                               .max_weight_binding_bytes = 8192,
                                               .max_weight_allocation_bytes = 16384}));
  RunOpConformance(*backend, {});
}

// The ways of a discrete GPU and of one without subgroup operations, which no other test here takes
// on a software device.
TEST(VulkanConformanceTest, StagedMemoryAndSumsWithoutSubgroupsChangeNothing) {
  CHOIR_VULKAN_OR_SKIP(
      backend, (VulkanOptions{.validation = true, .map_device_memory = false, .subgroups = false}));
  RunOpConformance(*backend, {});
}

// Operands of a product keep 11 bits in fp16, and short sums too: at most 2^-10 an operation, where
// the sums are as small as in the example cases.
constexpr double kHalfTolerance = 4e-3;

TEST(VulkanConformanceTest, Fp16ProductsStayWithinTheirTolerance) {
  CHOIR_VULKAN_OR_SKIP(
      backend,
      (VulkanOptions{.validation = true, .lanes_on_software = false, .way = ProductWay::kHalf}));
  RunOpConformance(*backend, {.compile = {.compute = Compute::kAuto}, .tolerance = kHalfTolerance});
}

// With 16 bits of a few tokens' vectors products are as exact as the other f32 sums.
TEST(VulkanConformanceTest, IntegerDotProductsStayWithinTheToleranceOfF32) {
  CHOIR_VULKAN_OR_SKIP(
      backend,
      (VulkanOptions{.validation = true, .lanes_on_software = false, .way = ProductWay::kDot}));
  RunOpConformance(*backend, {.compile = {.compute = Compute::kAuto}});
}

}  // namespace
}  // namespace choir::engine
