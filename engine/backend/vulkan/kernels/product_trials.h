#ifndef CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PRODUCT_TRIALS_H_
#define CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PRODUCT_TRIALS_H_

// What the tuner asks of a product (ProductTuner::Trials), in memory of its own: how long it takes,
// on zeros of its own sizes; and whether a way gives what the plain one gives, on a small random
// product whose rows differ in magnitude as gradients' do.

#include "engine/backend/vulkan/kernel.h"
#include "engine/backend/vulkan/kernels/products.h"
#include "engine/backend/vulkan/product_tuner.h"

namespace choir::engine::vulkan {

// The context and the product must outlive the trials.
class NtTrials final : public ProductTuner::Trials {
 public:
  NtTrials(const KernelContext& context, const NtProduct& product)
      : context_(&context), product_(&product) {}
  absl::StatusOr<double> Seconds(const Choice& choice) override;
  absl::StatusOr<double> Difference(const Choice& choice) override;

 private:
  const KernelContext* context_;
  const NtProduct* product_;
};

class NnTrials final : public ProductTuner::Trials {
 public:
  NnTrials(const KernelContext& context, const NnProduct& product)
      : context_(&context), product_(&product) {}
  absl::StatusOr<double> Seconds(const Choice& choice) override;
  absl::StatusOr<double> Difference(const Choice& choice) override;

 private:
  const KernelContext* context_;
  const NnProduct* product_;
};

}  // namespace choir::engine::vulkan

#endif  // CHOIR_ENGINE_BACKEND_VULKAN_KERNELS_PRODUCT_TRIALS_H_
