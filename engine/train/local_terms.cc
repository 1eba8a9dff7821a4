#include "engine/train/local_terms.h"

#include <algorithm>
#include <utility>

#include "base/status_macros.h"
#include "engine/lora/latent.h"

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

LocalTerms::LocalTerms(const Adapter& start, const AdapterLayout& layout, const TrainConfig& config,
                       const Adapter* basis)
    : layout_(layout), proximal_mu_(config.proximal_mu) {
  if (config.window.IsAll() && proximal_mu_ == 0 && basis == nullptr) return;
  start_ = Flatten(start);
  trained_ = TrainedElements(layout_, config.factors);
  if (!config.window.IsAll()) frozen_ = FrozenBy(config.window);
  if (basis == nullptr) return;
  basis_ = *basis;
  adapter_ = start;
  start_cores_ = CoreOf(start, *basis);
  cores_ = start_cores_;
}

std::vector<bool> LocalTerms::FrozenBy(const ComponentWindow& window) const {
  std::vector<bool> frozen(start_.size(), false);
  for (const AdapterSlot& slot : layout_.slots) {
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

void LocalTerms::PutCores(std::span<const float> cores, std::vector<float>& flat) const {
  for (const AdapterSlot& slot : layout_.slots) {
    const auto core = static_cast<size_t>(slot.rank * slot.rank);
    const auto b = flat.begin() + slot.b_offset;
    std::fill(b, b + slot.rows * slot.rank, 0.0f);
    std::copy_n(cores.begin(), core, b);
    cores = cores.subspan(core);
  }
}

std::vector<float> LocalTerms::TakeCores(std::span<const float> flat) const {
  std::vector<float> cores;
  cores.reserve(cores_.size());
  for (const AdapterSlot& slot : layout_.slots) {
    const auto b = flat.begin() + slot.b_offset;
    cores.insert(cores.end(), b, b + slot.rank * slot.rank);
  }
  return cores;
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
  if (basis_.has_value()) return Park(std::move(gradients), adapter);
  return adapter.Write(AdapterPart::kGradients, gradients);
}

// R and its gradient in the place of B and its: the optimizer and the norm for clipping then see R
// and nothing else.
absl::Status LocalTerms::Park(std::vector<float> gradients, DeviceAdapter& adapter) const {
  Adapter of_b = adapter_;
  CHOIR_RETURN_IF_ERROR(Unflatten(gradients, of_b));
  PutCores(CoreOf(of_b, *basis_), gradients);
  CHOIR_RETURN_IF_ERROR(adapter.Write(AdapterPart::kGradients, gradients));
  std::vector<float> parameters = start_;
  PutCores(cores_, parameters);
  return adapter.Write(AdapterPart::kParameters, parameters);
}

absl::Status LocalTerms::AfterUpdate(DeviceAdapter& adapter) {
  if (frozen_.empty() && !basis_.has_value()) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(std::vector<float> now, adapter.Read(AdapterPart::kParameters));
  for (size_t i = 0; i < frozen_.size(); ++i) {
    if (frozen_[i]) now[i] = start_[i];
  }
  CHOIR_ASSIGN_OR_RETURN(now, FromCheckpoint(now));
  return adapter.Write(AdapterPart::kParameters, now);
}

void LocalTerms::ToCheckpoint(std::vector<float>& parameters) const {
  if (basis_.has_value()) PutCores(cores_, parameters);
}

absl::StatusOr<std::vector<float>> LocalTerms::FromCheckpoint(std::span<const float> parameters) {
  if (!basis_.has_value()) return std::vector<float>(parameters.begin(), parameters.end());
  if (parameters.size() != start_.size()) {
    return absl::DataLossError("the checkpoint is of another adapter");
  }
  cores_ = TakeCores(parameters);
  CHOIR_RETURN_IF_ERROR(SetCore(adapter_, *basis_, cores_));
  return Flatten(adapter_);
}

absl::StatusOr<std::vector<float>> LocalTerms::CoreDelta() const {
  if (!basis_.has_value()) return absl::FailedPreconditionError("no cores are trained here");
  std::vector<float> delta(cores_.size());
  for (size_t i = 0; i < delta.size(); ++i) delta[i] = cores_[i] - start_cores_[i];
  return delta;
}

}  // namespace choir::engine
