#include "engine/graph/autodiff.h"

#include <algorithm>
#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "engine/graph/op_examples.h"
#include "engine/graph/reference_run.h"
#include "engine/graph/test_residual.h"

namespace choir::engine {
namespace {

TEST(AutodiffTest, DeepGradientMatchesFiniteDifferences) {
  const Residual net = BuildTrained(3);
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
