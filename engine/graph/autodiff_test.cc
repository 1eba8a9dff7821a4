#include "engine/graph/autodiff.h"

#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/graph/memory_plan.h"
#include "engine/graph/op_examples.h"
#include "engine/graph/reference_run.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr int64_t kTokens = 6;
constexpr int64_t kWidth = 16;
constexpr int64_t kRank = 2;

TensorId One(Graph& graph, std::string_view op, std::vector<TensorId> inputs, Attrs attrs = {},
             std::vector<TensorId> updates = {}) {
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

Residual BuildForward(int num_blocks) {
  Residual net;
  Graph& graph = net.graph;
  net.x = graph.AddInput("x", F32(kTokens, kWidth));
  TensorId h = net.x;
  for (int block = 0; block < num_blocks; ++block) {
    const auto name = [block](const char* part) { return part + std::to_string(block); };
    graph.SetBlock(block);
    const TensorId norm = graph.AddPersistent(name("norm"), Weight(&kF32Format, 1, kWidth));
    const TensorId up = graph.AddPersistent(name("up"), Weight(&kF32Format, 4 * kWidth, kWidth));
    const TensorId down =
        graph.AddPersistent(name("down"), Weight(&kF32Format, kWidth, 4 * kWidth));
    const TensorId a = graph.AddPersistent(name("a"), F32(kRank, kWidth));
    const TensorId b = graph.AddPersistent(name("b"), F32(4 * kWidth, kRank));
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
  net.seed = graph.AddInput("seed", F32(kTokens, kWidth));
  net.num_forward_nodes = graph.nodes().size();
  return net;
}

Residual BuildTrained(int num_blocks, bool checkpoint) {
  Residual net = BuildForward(num_blocks);
  const auto wanted =
      AppendBackward(net.graph, {{net.y, net.seed}}, net.parameter_gradients,
                     {.recomputed_blocks = checkpoint ? kAllBlocks : 0, .wanted = {}});
  EXPECT_TRUE(wanted.ok()) << wanted.status().ToString();
  return net;
}

// Values drawn by name, so that two graphs over the same names get the same.
RefValues DrawValues(const Graph& graph) {
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

std::map<std::string, std::vector<double>> RunGradients(const Residual& net) {
  RefValues values = DrawValues(net.graph);
  EXPECT_TRUE(RunReference(net.graph, values).ok());
  std::map<std::string, std::vector<double>> gradients;
  for (const auto& [factor, gradient] : net.parameter_gradients) {
    gradients[net.graph.tensor(gradient).name] = values.at(gradient).values;
  }
  return gradients;
}

TEST(AutodiffTest, DeepGradientMatchesFiniteDifferences) {
  const Residual net = BuildTrained(3, false);
  const auto gradients = RunGradients(net);
  const TensorId factor = *net.graph.Find("a0");  // the deepest: everything lies above it
  const auto loss_at = [&](double shift) {
    RefValues values = DrawValues(net.graph);
    values.at(factor).values[3] += shift;
    EXPECT_TRUE(RunReference(net.graph, values).ok());
    double loss = 0;
    for (size_t i = 0; i < values.at(net.y).values.size(); ++i) {
      loss += values.at(net.seed).values[i] * values.at(net.y).values[i];
    }
    return loss;
  };
  const double want = (loss_at(1e-6) - loss_at(-1e-6)) / 2e-6;
  const double got = gradients.at("a0.grad")[3];
  EXPECT_GT(std::abs(want), 1e-3);
  EXPECT_NEAR(got, want, 1e-5 * std::abs(want));
}

TEST(AutodiffTest, CheckpointedGradientsAreTheSameBitForBit) {
  EXPECT_EQ(RunGradients(BuildTrained(4, true)), RunGradients(BuildTrained(4, false)));
}

TEST(AutodiffTest, CheckpointingLowersThePeak) {
  const int64_t kept = PlanMemory(BuildTrained(12, false).graph, 64).arena_bytes;
  const int64_t recomputed = PlanMemory(BuildTrained(12, true).graph, 64).arena_bytes;
  EXPECT_LT(recomputed, kept / 3);
}

TEST(AutodiffTest, CheckpointingRecomputesOnlyWhatBackwardReads) {
  const int num_blocks = 3;
  const size_t plain = BuildTrained(num_blocks, false).graph.nodes().size();
  const size_t checkpointed = BuildTrained(num_blocks, true).graph.nodes().size();
  // Of a block's six nodes: norm, the two linears that feed the activation. Not glu and the last
  // linear (nothing is trained behind them), not the residual; and not the last block.
  EXPECT_EQ(checkpointed - plain, static_cast<size_t>(3 * (num_blocks - 1)));
}

TEST(AutodiffTest, FrozenFactorsCostNothing) {
  Residual net = BuildForward(2);
  std::map<TensorId, TensorId> only_b;
  for (const auto& [factor, gradient] : net.parameter_gradients) {
    if (net.graph.tensor(factor).name.starts_with("b")) only_b[factor] = gradient;
  }
  ASSERT_TRUE(AppendBackward(net.graph, {{net.y, net.seed}}, only_b, {}).ok());
  size_t num_lora_grads = 0;
  for (const Node& node : net.graph.nodes()) num_lora_grads += node.op->name == "lora_grad" ? 1 : 0;
  EXPECT_EQ(num_lora_grads, 2u);
  // The first block's input wants no gradient, so nothing flows below its trained factor.
  size_t num_norm_backward = 0;
  for (const Node& node : net.graph.nodes()) {
    num_norm_backward += node.op->name == "rms_norm_backward" ? 1 : 0;
  }
  EXPECT_EQ(num_norm_backward, 1u);
}

TEST(AutodiffTest, NothingTrainedAddsNothing) {
  Residual net = BuildForward(2);
  ASSERT_TRUE(AppendBackward(net.graph, {{net.y, net.seed}}, {}, {}).ok());
  EXPECT_EQ(net.graph.nodes().size(), net.num_forward_nodes);
}

TEST(AutodiffTest, TensorReadTwiceGetsTheSum) {
  Graph graph;
  const TensorId x = graph.AddInput("x", F32(1, 1));
  const TensorId twice = One(graph, "add", {x, x});
  const TensorId y = One(graph, "add", {twice, x});
  const TensorId seed = graph.AddInput("seed", F32(1, 1));
  const auto wanted =
      AppendBackward(graph, {{y, seed}}, {}, {.recomputed_blocks = 0, .wanted = {x}});
  ASSERT_TRUE(wanted.ok());
  RefValues values = {{x, RefF32({1, 1}, {5})}, {seed, RefF32({1, 1}, {1})}};
  ASSERT_TRUE(RunReference(graph, values).ok());
  EXPECT_EQ(values.at(wanted->at(x)).values[0], 3);
}

TEST(AutodiffTest, OpWithoutGradientOnTheWayIsNamed) {
  Graph graph;
  const TensorId x = graph.AddInput("x", F32(3, 4));
  const TensorId rows = graph.AddInput("rows", I32(1, 2));
  const TensorId y = One(graph, "gather_rows", {x, rows});
  const TensorId seed = graph.AddInput("seed", F32(2, 4));
  const auto wanted =
      AppendBackward(graph, {{y, seed}}, {}, {.recomputed_blocks = 0, .wanted = {x}});
  EXPECT_EQ(wanted.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(wanted.status().message()), testing::HasSubstr("gather_rows"));
}

TEST(GraphTest, RefusedNodeIsNamedAndNothingIsAdded) {
  Graph graph;
  const TensorId x = graph.AddInput("x", F32(3, 4));
  const TensorId y = graph.AddInput("y", F32(3, 5));
  const auto added = graph.AddNode("add", {x, y});
  EXPECT_EQ(added.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(added.status().message()),
              testing::HasSubstr("node 0: add: b must be f32 3x4, got f32 3x5"));
  EXPECT_TRUE(graph.nodes().empty());
  EXPECT_EQ(graph.AddNode("nothing", {}).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(*graph.Find("y"), y);
  EXPECT_EQ(graph.Find("z").status().code(), absl::StatusCode::kNotFound);
}

TEST(ReferenceRunTest, MissingOrMisshapenValueIsNamed) {
  Graph graph;
  const TensorId x = graph.AddInput("x", F32(3, 4));
  RefValues values;
  EXPECT_THAT(std::string(RunReference(graph, values).message()), testing::HasSubstr("x"));
  values[x] = RefF32({4, 3}, std::vector<double>(12));
  EXPECT_EQ(RunReference(graph, values).code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace choir::engine
