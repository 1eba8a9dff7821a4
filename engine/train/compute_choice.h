#ifndef CHOIR_ENGINE_TRAIN_COMPUTE_CHOICE_H_
#define CHOIR_ENGINE_TRAIN_COMPUTE_CHOICE_H_

#include "engine/backend/backend.h"
#include "engine/model/model_spec.h"

namespace choir::engine {

// What kAuto means for a model: f32 where its matrices are too small for bf16 products to pay, else
// kAuto, and the backend decides. Anything but kAuto stays as asked.
Compute ChooseCompute(Compute asked, const ModelSpec& spec);

// Do products with this choice round what they read to bf16 on this device? Then activations may
// wait for the backward pass in as many bits.
bool RoundsProducts(Compute chosen, const DeviceInfo& device);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_COMPUTE_CHOICE_H_
