#ifndef CHOIR_ENGINE_TRAIN_LOCAL_TERMS_H_
#define CHOIR_ENGINE_TRAIN_LOCAL_TERMS_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/model/adapter_layout.h"
#include "engine/model/device_model.h"
#include "engine/train/train_config.h"

namespace choir::engine {

// What a step of a federated node does beside the gradient of its loss:
//   the proximal term of FedProx (Li et al. 2020): the gradient of mu/2 |w - w_start|^2 is added,
//     which holds a node near the adapter that all started from;
//   a window of components: only some of a LoRA's r components are trained, the others stay as
//     they are, in the forward pass too;
//   cores between a fixed basis (engine/lora/latent.h): the gradient of B becomes B0^T of it, the
//     optimizer moves R in its place, and B = B0 R goes back.
// Works on the host between the backward pass and the optimizer, so it is the same on every
// backend; where there is nothing to do, nothing is read back.
class LocalTerms {
 public:
  // `start`: what training starts from. `basis` may be null; otherwise it was checked.
  LocalTerms(const Adapter& start, const AdapterLayout& layout, const TrainConfig& config,
             const Adapter* basis);

  // After the gradients of a whole step are there, before they are clipped.
  absl::Status BeforeUpdate(DeviceAdapter& adapter) const;
  // After the optimizer's step: what is frozen is put back (weight decay moves it), and what cores
  // stand for.
  absl::Status AfterUpdate(DeviceAdapter& adapter);

  // A checkpoint holds cores, where there are some, in B's place: B0 R has lost their last bits.
  void ToCheckpoint(std::vector<float>& parameters) const;
  // The parameters that a checkpoint stands for.
  absl::StatusOr<std::vector<float>> FromCheckpoint(std::span<const float> parameters);

  // Trained minus start. FAILED_PRECONDITION where no cores are trained.
  [[nodiscard]] absl::StatusOr<std::vector<float>> CoreDelta() const;

 private:
  [[nodiscard]] std::vector<bool> FrozenBy(const ComponentWindow& window) const;
  // Cores to and from the first rows of B's place in a flat vector; the other rows are zero.
  void PutCores(std::span<const float> cores, std::vector<float>& flat) const;
  [[nodiscard]] std::vector<float> TakeCores(std::span<const float> flat) const;
  absl::Status Park(std::vector<float> gradients, DeviceAdapter& adapter) const;

  AdapterLayout layout_;
  double proximal_mu_ = 0;
  std::vector<float> start_;   // empty: nothing to do
  std::vector<bool> trained_;  // by the chosen factors
  std::vector<bool> frozen_;   // outside the window; empty: nothing
  // Where cores are trained.
  std::optional<Adapter> basis_;
  Adapter adapter_;  // the shape, A, and room for B
  std::vector<float> start_cores_;
  std::vector<float> cores_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_LOCAL_TERMS_H_
