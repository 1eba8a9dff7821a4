#ifndef CHOIR_ENGINE_TRAIN_LOCAL_TERMS_H_
#define CHOIR_ENGINE_TRAIN_LOCAL_TERMS_H_

#include <cstdint>
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
//     they are, in the forward pass too (docs/strategies.md, Slices).
// Works on the host between the backward pass and the optimizer, so it is the same on every
// backend; where there is nothing to do, nothing is read back.
class LocalTerms {
 public:
  // `start`: the parameters that training starts from, as Flatten(Adapter) gives them.
  LocalTerms(const AdapterLayout& layout, const TrainConfig& config, std::vector<float> start);

  // After the gradients of a whole step are there, before they are clipped.
  absl::Status BeforeUpdate(DeviceAdapter& adapter) const;
  // After the optimizer's step: what is frozen is put back (weight decay moves it).
  absl::Status AfterUpdate(DeviceAdapter& adapter) const;

 private:
  [[nodiscard]] std::vector<bool> FrozenBy(const AdapterLayout& layout,
                                           const ComponentWindow& window) const;

  double proximal_mu_ = 0;
  std::vector<float> start_;
  std::vector<bool> trained_;  // by the chosen factors
  std::vector<bool> frozen_;   // outside the window; empty: nothing
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_LOCAL_TERMS_H_
