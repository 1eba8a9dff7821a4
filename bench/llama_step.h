#ifndef CHOIR_BENCH_LLAMA_STEP_H_
#define CHOIR_BENCH_LLAMA_STEP_H_

// A training step of a model in the shape of Llama, with random weights: what the benchmarks time.

#include <cstdint>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/backend/backend.h"
#include "engine/graph/graph.h"
#include "engine/quant/weight_format.h"

namespace choir::bench {

struct LlamaShape {
  int64_t layers = 12;
  int64_t channels = 768;
  int64_t feed_forward = 2048;
  int64_t heads = 12;
  int64_t kv_heads = 12;
  int64_t head_size = 64;
  int64_t vocabulary = 32000;
  int64_t rank = 8;
  int64_t tokens = 256;
  const engine::WeightFormat* format = &engine::kF32Format;
};

// One sequence of `tokens` tokens; forward, loss, backward and AdamW in one graph. LoRA on q, k, v
// and the attention's output, as in "LoRA: Low-Rank Adaptation" (Hu et al. 2021), 4.2.
class LlamaStep {
 public:
  // The backend outlives the step.
  static absl::StatusOr<std::unique_ptr<LlamaStep>> Create(engine::Backend& backend,
                                                           const LlamaShape& shape,
                                                           engine::Compute compute);
  // One step; returns the mean loss.
  absl::StatusOr<double> Run();

  [[nodiscard]] engine::Executable& executable() { return *executable_; }
  // Floating-point operations of the products of one step (attention: the causal half).
  [[nodiscard]] double flops() const { return flops_; }
  [[nodiscard]] uint64_t weight_bytes() const { return weight_bytes_; }

 private:
  struct Builder;

  absl::Status BindWeights(engine::Backend& backend);
  absl::Status WriteInputs();

  LlamaShape shape_;
  engine::Graph graph_;
  engine::TensorId ids_ = -1, positions_ = -1, segments_ = -1, targets_ = -1;
  engine::TensorId loss_weights_ = -1, loss_scale_ = -1, hyper_ = -1;
  engine::TensorId nll_ = -1;
  // The adapter's flat vectors: parameters, gradients and moments.
  engine::TensorId params_ = -1, grads_ = -1, m_ = -1, v_ = -1;
  int64_t adapter_elements_ = 0;
  // Where each factor and each gradient lies in the flat vectors, in elements.
  std::vector<std::pair<engine::TensorId, int64_t>> factors_;
  std::vector<std::pair<engine::TensorId, int64_t>> factor_gradients_;
  std::vector<uint8_t> weights_;
  std::map<engine::TensorId, engine::Binding> bindings_;
  std::unique_ptr<engine::Executable> executable_;
  double flops_ = 0;
  uint64_t weight_bytes_ = 0;
};

}  // namespace choir::bench

#endif  // CHOIR_BENCH_LLAMA_STEP_H_
