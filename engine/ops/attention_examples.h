#ifndef CHOIR_ENGINE_OPS_ATTENTION_EXAMPLES_H_
#define CHOIR_ENGINE_OPS_ATTENTION_EXAMPLES_H_

// The example cases that attention and its backward op share.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/ops/attrs.h"
#include "engine/ops/tensor_desc.h"

namespace choir::engine {

struct AttentionExample {
  std::string name;
  TensorDesc q;        // also o and their gradients
  TensorDesc kv;       // k, v and their gradients
  TensorDesc lse;      // (T, H)
  TensorDesc segment;  // (1, T)
  Attrs attrs;
  std::vector<int32_t> segment_ids;
};

std::vector<AttentionExample> AttentionExamples();

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_OPS_ATTENTION_EXAMPLES_H_
