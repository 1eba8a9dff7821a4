#ifndef CHOIR_ENGINE_MODEL_PEFT_BASE_H_
#define CHOIR_ENGINE_MODEL_PEFT_BASE_H_

#include "engine/lora/peft_modules.h"
#include "engine/model/model.h"

namespace choir::engine {

// How this model's adapters stand in a PEFT folder.
PeftBase PeftBaseOf(const Model& model);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_MODEL_PEFT_BASE_H_
