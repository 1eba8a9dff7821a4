#include "bench/llama_step.h"

#include <cmath>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/graph/autodiff.h"

namespace choir::bench {
namespace {

using engine::Attrs;
using engine::F32;
using engine::I32;
using engine::Node;
using engine::TensorId;
using engine::Weight;

constexpr double kLoraScale = 2;  // alpha 16 over rank 8

double ProductFlops(const engine::Graph& graph, const Node& node) {
  const auto shape = [&](size_t i) { return graph.tensor(node.inputs[i]).desc.shape; };
  const auto elements = [&](size_t i) { return static_cast<double>(shape(i).NumElements()); };
  const auto tokens = static_cast<double>(shape(0).rows);
  const std::string_view op = node.op->name;
  if (op == "linear" || op == "linear_backward") {
    double weights = elements(1);
    if (node.attrs.Int("lora") == 1) weights += elements(2) + elements(3);
    return 2 * tokens * weights;
  }
  if (op == "lm_head_loss")
    return (node.attrs.Int("with_grad") == 1 ? 4 : 2) * tokens * elements(1);
  if (op == "lora_grad") return 2 * elements(0) * static_cast<double>(shape(1).cols);
  // Two products of (T,T) x D forward and five backward, half of them masked away.
  if (op == "attention") return 2 * tokens * elements(0);
  if (op == "attention_backward") return 5 * tokens * elements(0);
  return 0;
}

}  // namespace

struct LlamaStep::Builder {
  explicit Builder(LlamaStep& owner) : step(owner) {}

  LlamaStep& step;
  engine::Graph& graph = step.graph_;
  const LlamaShape& shape = step.shape_;
  std::map<TensorId, TensorId> gradients;

  absl::StatusOr<TensorId> Add(std::string_view op, std::vector<TensorId> inputs, Attrs attrs) {
    CHOIR_ASSIGN_OR_RETURN(const auto outputs, graph.AddNode(op, std::move(inputs), attrs));
    return outputs[0];
  }

  TensorId Factor(const std::string& name, int64_t rows, int64_t cols) {
    const TensorId factor = graph.AddPersistent(name, F32(rows, cols));
    const TensorId gradient = graph.AddPersistent(name + ".grad", F32(rows, cols));
    step.factors_.emplace_back(factor, step.adapter_elements_);
    step.factor_gradients_.emplace_back(gradient, step.adapter_elements_);
    gradients[factor] = gradient;
    step.adapter_elements_ += rows * cols;
    return factor;
  }

  absl::StatusOr<TensorId> Linear(const std::string& name, TensorId x, int64_t rows, bool lora) {
    const int64_t cols = graph.tensor(x).desc.shape.cols;
    std::vector<TensorId> inputs = {x, graph.AddPersistent(name, Weight(shape.format, rows, cols))};
    if (lora) {
      inputs.push_back(Factor(name + ".a", shape.rank, cols));
      inputs.push_back(Factor(name + ".b", rows, shape.rank));
    }
    return Add("linear", std::move(inputs), {{"lora", lora ? 1 : 0}, {"lora_scale", kLoraScale}});
  }

  absl::StatusOr<TensorId> Norm(const std::string& name, TensorId x) {
    const TensorId w = graph.AddPersistent(name, Weight(&engine::kF32Format, 1, shape.channels));
    return Add("rms_norm", {x, w}, {{"eps", 1e-5}, {"groups", 1}});
  }

  absl::StatusOr<TensorId> Rope(TensorId x) {
    const auto head_size = static_cast<double>(shape.head_size);
    return Add("rope", {x, step.positions_},
               {{"head_size", head_size},
                {"n_rot", head_size},
                {"base", 10000},
                {"pos_scale", 1},
                {"halves", 0},
                {"inverse", 0}});
  }

  absl::StatusOr<TensorId> Layer(const std::string& prefix, TensorId h) {
    const int64_t q_cols = shape.heads * shape.head_size;
    const int64_t kv_cols = shape.kv_heads * shape.head_size;
    CHOIR_ASSIGN_OR_RETURN(const TensorId x, Norm(prefix + "attn_norm", h));
    CHOIR_ASSIGN_OR_RETURN(TensorId q, Linear(prefix + "q", x, q_cols, true));
    CHOIR_ASSIGN_OR_RETURN(TensorId k, Linear(prefix + "k", x, kv_cols, true));
    CHOIR_ASSIGN_OR_RETURN(const TensorId v, Linear(prefix + "v", x, kv_cols, true));
    CHOIR_ASSIGN_OR_RETURN(q, Rope(q));
    CHOIR_ASSIGN_OR_RETURN(k, Rope(k));
    const auto head_size = static_cast<double>(shape.head_size);
    CHOIR_ASSIGN_OR_RETURN(const TensorId o, Add("attention", {q, k, v, step.segments_},
                                                 {{"head_size", head_size},
                                                  {"scale", 1 / std::sqrt(head_size)},
                                                  {"window", 0},
                                                  {"softcap", 0}}));
    CHOIR_ASSIGN_OR_RETURN(const TensorId attended, Linear(prefix + "o", o, shape.channels, true));
    CHOIR_ASSIGN_OR_RETURN(h, Add("add", {h, attended}, {}));
    CHOIR_ASSIGN_OR_RETURN(const TensorId z, Norm(prefix + "ffn_norm", h));
    CHOIR_ASSIGN_OR_RETURN(const TensorId gate,
                           Linear(prefix + "gate", z, shape.feed_forward, false));
    CHOIR_ASSIGN_OR_RETURN(const TensorId up, Linear(prefix + "up", z, shape.feed_forward, false));
    CHOIR_ASSIGN_OR_RETURN(const TensorId glu, Add("glu", {gate, up}, {{"act", 0}}));
    CHOIR_ASSIGN_OR_RETURN(const TensorId down,
                           Linear(prefix + "down", glu, shape.channels, false));
    return Add("add", {h, down}, {});
  }

  void AddInputs() {
    const int64_t tokens = shape.tokens;
    step.ids_ = graph.AddInput("ids", I32(1, tokens));
    step.positions_ = graph.AddInput("positions", I32(1, tokens));
    step.segments_ = graph.AddInput("segments", I32(1, tokens));
    step.targets_ = graph.AddInput("targets", I32(1, tokens));
    step.loss_weights_ = graph.AddInput("loss_weights", F32(1, tokens));
    step.loss_scale_ = graph.AddInput("loss_scale", F32(1, 1));
    step.hyper_ = graph.AddInput("hyper", F32(1, 8));
  }

  absl::Status Build() {
    AddInputs();
    const TensorId table =
        graph.AddPersistent("embedding", Weight(shape.format, shape.vocabulary, shape.channels));
    CHOIR_ASSIGN_OR_RETURN(TensorId h, Add("embed", {step.ids_, table}, {{"scale", 1}}));
    for (int64_t layer = 0; layer < shape.layers; ++layer) {
      graph.SetBlock(static_cast<int>(layer));
      CHOIR_ASSIGN_OR_RETURN(h, Layer(fmt::format("layer{}.", layer), h));
    }
    graph.SetBlock(-1);
    CHOIR_ASSIGN_OR_RETURN(h, Norm("output_norm", h));
    const TensorId head =
        graph.AddPersistent("head", Weight(shape.format, shape.vocabulary, shape.channels));
    CHOIR_ASSIGN_OR_RETURN(const auto loss, graph.AddNode("lm_head_loss",
                                                          {h, head, step.targets_,
                                                           step.loss_weights_, step.loss_scale_},
                                                          {{"with_grad", 1}, {"softcap", 0}}));
    step.nll_ = loss[0];
    graph.MarkOutput(step.nll_);
    CHOIR_RETURN_IF_ERROR(engine::AppendBackward(graph, {{h, loss[1]}}, gradients, {}).status());
    const auto flat = F32(1, step.adapter_elements_);
    step.params_ = graph.AddPersistent("params", flat);
    step.grads_ = graph.AddPersistent("grads", flat);
    step.m_ = graph.AddPersistent("m", flat);
    step.v_ = graph.AddPersistent("v", flat);
    return graph.AddNode("adamw", {step.hyper_}, {}, {step.params_, step.grads_, step.m_, step.v_})
        .status();
  }
};

absl::Status LlamaStep::BindWeights(engine::Backend& backend) {
  std::vector<std::pair<TensorId, uint64_t>> places;
  for (size_t i = 0; i < graph_.tensors().size(); ++i) {
    const engine::Tensor& tensor = graph_.tensors()[i];
    if (tensor.desc.dtype != engine::DType::kWeight) continue;
    places.emplace_back(static_cast<TensorId>(i), weight_bytes_);
    weight_bytes_ += (static_cast<uint64_t>(SizeBytes(tensor.desc)) + 63) / 64 * 64;
  }
  weights_.resize(weight_bytes_);
  uint32_t seed = 1;
  std::vector<float> row;
  for (const auto& [id, offset] : places) {
    const engine::TensorDesc& desc = graph_.tensor(id).desc;
    row.resize(static_cast<size_t>(desc.shape.cols));
    const size_t row_bytes = desc.format->RowBytes(row.size());
    for (int64_t r = 0; r < desc.shape.rows; ++r) {
      for (float& value : row) {
        seed = seed * 1664525u + 1013904223u;
        // Uniform with variance 1/C, so that activations keep their size; norms near 1.
        const float uniform = static_cast<float>(seed >> 8) / 8388608.0F - 1.0F;
        value = desc.shape.rows == 1
                    ? 1.0F
                    : uniform * std::sqrt(3.0F / static_cast<float>(desc.shape.cols));
      }
      desc.format->quantize_row(
          row, {weights_.data() + offset + static_cast<size_t>(r) * row_bytes, row_bytes});
    }
  }
  CHOIR_ASSIGN_OR_RETURN(const auto buffer, backend.WrapWeights(weights_));
  for (const auto& [id, offset] : places) bindings_[id] = {buffer, offset};
  return absl::OkStatus();
}

absl::Status LlamaStep::WriteInputs() {
  const auto tokens = static_cast<size_t>(shape_.tokens);
  std::vector<int32_t> ids(tokens + 1), positions(tokens), segments(tokens, 0);
  for (size_t t = 0; t <= tokens; ++t) {
    ids[t] = static_cast<int32_t>(t * 7919 % static_cast<size_t>(shape_.vocabulary));
  }
  std::iota(positions.begin(), positions.end(), 0);
  const std::vector<float> weights(tokens, 1.0F);
  const std::vector<float> scale = {1.0F / static_cast<float>(tokens)};
  const std::vector<float> hyper = {1e-3F, 0.9F, 0.999F, 1e-8F, 0, 0.1F, 0.001F, 1};
  const auto write = [&](TensorId id, auto values) {
    return executable_->WriteInput(id, engine::BytesOf(values));
  };
  const std::span<const int32_t> all_ids(ids);
  CHOIR_RETURN_IF_ERROR(write(ids_, all_ids.first(tokens)));
  CHOIR_RETURN_IF_ERROR(write(targets_, all_ids.last(tokens)));
  CHOIR_RETURN_IF_ERROR(write(positions_, std::span<const int32_t>(positions)));
  CHOIR_RETURN_IF_ERROR(write(segments_, std::span<const int32_t>(segments)));
  CHOIR_RETURN_IF_ERROR(write(loss_weights_, std::span<const float>(weights)));
  CHOIR_RETURN_IF_ERROR(write(loss_scale_, std::span<const float>(scale)));
  return write(hyper_, std::span<const float>(hyper));
}

absl::StatusOr<std::unique_ptr<LlamaStep>> LlamaStep::Create(engine::Backend& backend,
                                                             const LlamaShape& shape,
                                                             engine::Compute compute) {
  auto step = std::make_unique<LlamaStep>();
  step->shape_ = shape;
  CHOIR_RETURN_IF_ERROR(Builder(*step).Build());
  for (const Node& node : step->graph_.nodes()) step->flops_ += ProductFlops(step->graph_, node);
  CHOIR_RETURN_IF_ERROR(step->BindWeights(backend));

  const auto flat_bytes = static_cast<uint64_t>(step->adapter_elements_) * sizeof(float);
  for (const TensorId flat : {step->params_, step->grads_, step->m_, step->v_}) {
    CHOIR_ASSIGN_OR_RETURN(step->bindings_[flat].buffer, backend.Allocate(flat_bytes));
  }
  std::vector<float> params(static_cast<size_t>(step->adapter_elements_));
  for (size_t i = 0; i < params.size(); ++i) params[i] = 0.01F * std::sin(static_cast<float>(i));
  CHOIR_RETURN_IF_ERROR(backend.Write(*step->bindings_[step->params_].buffer, 0,
                                      engine::BytesOf(std::span<const float>(params))));
  const auto bind_slices = [&](const auto& slices, TensorId flat) {
    for (const auto& [id, offset] : slices) {
      step->bindings_[id] = {step->bindings_[flat].buffer,
                             static_cast<uint64_t>(offset) * sizeof(float)};
    }
  };
  bind_slices(step->factors_, step->params_);
  bind_slices(step->factor_gradients_, step->grads_);
  CHOIR_ASSIGN_OR_RETURN(step->executable_,
                         backend.Compile(step->graph_, step->bindings_, {compute}));
  CHOIR_RETURN_IF_ERROR(step->WriteInputs());
  return step;
}

absl::StatusOr<double> LlamaStep::Run() {
  CHOIR_RETURN_IF_ERROR(executable_->Run());
  std::vector<float> nll(static_cast<size_t>(shape_.tokens));
  CHOIR_RETURN_IF_ERROR(
      executable_->ReadOutput(nll_, engine::MutableBytesOf(std::span<float>(nll))));
  return std::accumulate(nll.begin(), nll.end(), 0.0) / static_cast<double>(nll.size());
}

}  // namespace choir::bench
