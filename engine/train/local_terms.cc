#include "engine/train/local_terms.h"

#include <utility>

#include "base/status_macros.h"

namespace choir::engine {
namespace {

std::vector<bool> TrainedElements(const AdapterLayout& layout, TrainedFactors factors) {
  std::vector<bool> trained(static_cast<size_t>(layout.num_elements));
  for (const FlatRange& range : layout.Trained(factors)) {
    for (int64_t i = 0; i < range.count; ++i) trained[static_cast<size_t>(range.offset + i)] = true;
  }
  return trained;
}

}  // namespace

LocalTerms::LocalTerms(const AdapterLayout& layout, const TrainConfig& config,
                       std::vector<float> start)
    : proximal_mu_(config.proximal_mu) {
  if (config.window.IsAll() && proximal_mu_ == 0) return;
  start_ = std::move(start);
  trained_ = TrainedElements(layout, config.factors);
  if (!config.window.IsAll()) frozen_ = FrozenBy(layout, config.window);
}

std::vector<bool> LocalTerms::FrozenBy(const AdapterLayout& layout,
                                       const ComponentWindow& window) const {
  std::vector<bool> frozen(start_.size(), false);
  for (const AdapterSlot& slot : layout.slots) {
    for (int64_t k = 0; k < slot.rank; ++k) {
      if (window.Contains(k)) continue;
      // Row k of A and column k of B.
      for (int64_t i = 0; i < slot.cols; ++i) {
        frozen[static_cast<size_t>(slot.a_offset + k * slot.cols + i)] = true;
      }
      for (int64_t i = 0; i < slot.rows; ++i) {
        frozen[static_cast<size_t>(slot.b_offset + i * slot.rank + k)] = true;
      }
    }
  }
  return frozen;
}

absl::Status LocalTerms::BeforeUpdate(DeviceAdapter& adapter) const {
  if (start_.empty()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(std::vector<float> gradients, adapter.Read(AdapterPart::kGradients));
  if (proximal_mu_ > 0) {
    CHOIR_ASSIGN_OR_RETURN(const std::vector<float> now, adapter.Read(AdapterPart::kParameters));
    const auto mu = static_cast<float>(proximal_mu_);
    for (size_t i = 0; i < now.size(); ++i) {
      if (trained_[i]) gradients[i] += mu * (now[i] - start_[i]);
    }
  }
  for (size_t i = 0; i < frozen_.size(); ++i) {
    if (frozen_[i]) gradients[i] = 0.0f;
  }
  return adapter.Write(AdapterPart::kGradients, gradients);
}

absl::Status LocalTerms::AfterUpdate(DeviceAdapter& adapter) const {
  if (frozen_.empty()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(std::vector<float> now, adapter.Read(AdapterPart::kParameters));
  for (size_t i = 0; i < now.size(); ++i) {
    if (frozen_[i]) now[i] = start_[i];
  }
  return adapter.Write(AdapterPart::kParameters, now);
}

}  // namespace choir::engine
