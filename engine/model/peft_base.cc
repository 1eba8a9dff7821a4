#include "engine/model/peft_base.h"

#include <string>

namespace choir::engine {

PeftBase PeftBaseOf(const Model& model) {
  const ModelSpec& spec = model.spec();
  PeftBase base;
  base.architecture = spec.architecture;
  base.name = std::string(model.file().GetString("general.name", "").value_or(""));
  base.num_layers = static_cast<int64_t>(spec.layers.size());
  base.num_heads = spec.num_heads;
  base.num_kv_heads = spec.num_kv_heads;
  // Hugging Face's models all turn halves; a GGUF model that turns pairs was reordered.
  base.reorders_heads = !spec.rope_halves;
  return base;
}

}  // namespace choir::engine
