#ifndef CHOIR_ENGINE_GRAPH_TEST_RESIDUAL_H_
#define CHOIR_ENGINE_GRAPH_TEST_RESIDUAL_H_

// For tests: a small residual network with a backward pass.

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "engine/graph/autodiff.h"
#include "engine/graph/op_examples.h"
#include "engine/graph/reference_run.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {

inline constexpr int64_t kResidualTokens = 6;
inline constexpr int64_t kResidualWidth = 16;
inline constexpr int64_t kResidualRank = 2;

inline TensorId One(Graph& graph, std::string_view op, std::vector<TensorId> inputs,
                    Attrs attrs = {}, std::vector<TensorId> updates = {}) {
  const auto outputs = graph.AddNode(op, std::move(inputs), std::move(attrs), std::move(updates));
  EXPECT_TRUE(outputs.ok()) << outputs.status().ToString();
  return (*outputs)[0];
}

// `num_blocks` residual blocks h += W2 glu(W1 norm(h) + LoRA, W1 norm(h)), and their backward pass.
struct Residual {
  Graph graph;
  TensorId x = -1;
  TensorId y = -1;
  TensorId seed = -1;
  std::map<TensorId, TensorId> parameter_gradients;
  size_t num_forward_nodes = 0;
};

inline Residual BuildForward(int num_blocks) {
  Residual net;
  Graph& graph = net.graph;
  net.x = graph.AddInput("x", F32(kResidualTokens, kResidualWidth));
  TensorId h = net.x;
  for (int block = 0; block < num_blocks; ++block) {
    const auto name = [block](const char* part) { return part + std::to_string(block); };
    graph.SetBlock(block);
    const TensorId norm = graph.AddPersistent(name("norm"), Weight(&kF32Format, 1, kResidualWidth));
    const TensorId up =
        graph.AddPersistent(name("up"), Weight(&kF32Format, 4 * kResidualWidth, kResidualWidth));
    const TensorId down =
        graph.AddPersistent(name("down"), Weight(&kF32Format, kResidualWidth, 4 * kResidualWidth));
    const TensorId a = graph.AddPersistent(name("a"), F32(kResidualRank, kResidualWidth));
    const TensorId b = graph.AddPersistent(name("b"), F32(4 * kResidualWidth, kResidualRank));
    const TensorId normed = One(graph, "rms_norm", {h, norm}, {{"eps", 1e-5}, {"groups", 1}});
    const TensorId gate =
        One(graph, "linear", {normed, up, a, b}, {{"lora", 1}, {"lora_scale", 2}});
    const TensorId plain = One(graph, "linear", {normed, up}, {{"lora", 0}});
    const TensorId gated = One(graph, "glu", {gate, plain}, {{"act", 0}});
    h = One(graph, "add", {h, One(graph, "linear", {gated, down}, {{"lora", 0}})});
    for (const TensorId factor : {a, b}) {
      net.parameter_gradients[factor] =
          graph.AddPersistent(graph.tensor(factor).name + ".grad", graph.tensor(factor).desc);
    }
  }
  graph.SetBlock(-1);
  net.y = h;
  net.seed = graph.AddInput("seed", F32(kResidualTokens, kResidualWidth));
  net.num_forward_nodes = graph.nodes().size();
  return net;
}

inline Residual BuildTrained(int num_blocks, const BackwardOptions& options = {}) {
  Residual net = BuildForward(num_blocks);
  const auto wanted =
      AppendBackward(net.graph, {{net.y, net.seed}}, net.parameter_gradients, options);
  EXPECT_TRUE(wanted.ok()) << wanted.status().ToString();
  return net;
}

// Values drawn by name, so that two graphs over the same names get the same.
inline RefValues DrawValues(const Graph& graph) {
  RefValues values;
  for (size_t id = 0; id < graph.tensors().size(); ++id) {
    const Tensor& tensor = graph.tensors()[id];
    if (tensor.kind == TensorKind::kIntermediate) continue;
    const bool is_gradient = tensor.name.ends_with(".grad");
    values[static_cast<TensorId>(id)] =
        is_gradient ? RefZeros(tensor.desc)
                    : DrawF32(tensor.desc.shape, std::hash<std::string>{}(tensor.name));
  }
  return values;
}

inline std::map<std::string, std::vector<double>> RunGradients(const Residual& net) {
  RefValues values = DrawValues(net.graph);
  EXPECT_TRUE(RunReference(net.graph, values).ok());
  std::map<std::string, std::vector<double>> gradients;
  for (const auto& [factor, gradient] : net.parameter_gradients) {
    gradients[net.graph.tensor(gradient).name] = values.at(gradient).values;
  }
  return gradients;
}

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_GRAPH_TEST_RESIDUAL_H_
