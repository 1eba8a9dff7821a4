#include "engine/tokenizer/tokenizer.h"

namespace choir::engine {

bool Tokenizer::IsEndOfGeneration(int32_t id) const {
  return special().eos == id || special().eot == id;
}

}  // namespace choir::engine
