#include "engine/graph/recompute.h"

#include <algorithm>
#include <cmath>
#include <set>

#include <gtest/gtest.h>

#include "engine/graph/memory_plan.h"
#include "engine/graph/pack_placement.h"
#include "engine/graph/test_residual.h"

namespace choir::engine {
namespace {

constexpr BackwardOptions kKeepAll = {};

BackwardOptions Options(KeptActivations kept, int64_t recomputed_blocks = 0) {
  return {.recomputed_blocks = recomputed_blocks, .kept = kept, .wanted = {}};
}

int64_t PeakOf(int num_blocks, const BackwardOptions& options) {
  return PlanMemory(BuildTrained(num_blocks, options).graph, 64).arena_bytes;
}

TEST(RecomputeTest, CheckpointedGradientsAreTheSameBitForBit) {
  EXPECT_EQ(RunGradients(BuildTrained(4, Options(KeptActivations::kAll, kAllBlocks))),
            RunGradients(BuildTrained(4)));
}

TEST(RecomputeTest, CheckpointingLowersThePeak) {
  EXPECT_LT(PeakOf(12, Options(KeptActivations::kAll, kAllBlocks)), PeakOf(12, {}) / 3);
}

TEST(RecomputeTest, CheckpointingRecomputesOnlyWhatBackwardReads) {
  const int num_blocks = 3;
  const size_t plain = BuildTrained(num_blocks).graph.nodes().size();
  const size_t checkpointed =
      BuildTrained(num_blocks, Options(KeptActivations::kAll, kAllBlocks)).graph.nodes().size();
  // Of a block's six nodes: norm, the two linears that feed the activation. Not glu and the last
  // linear (nothing is trained behind them), not the residual; and not the last block.
  EXPECT_EQ(checkpointed - plain, static_cast<size_t>(3 * (num_blocks - 1)));
}

TEST(RecomputeTest, SelectedGradientsAreTheSameBitForBit) {
  const auto kept = RunGradients(BuildTrained(4));
  for (const int64_t blocks : {int64_t{0}, int64_t{2}, kAllBlocks}) {
    EXPECT_EQ(RunGradients(BuildTrained(4, Options(KeptActivations::kProducts, blocks))), kept);
  }
}

TEST(RecomputeTest, OnlyCheapOpsRunAgain) {
  const Residual plain = BuildTrained(3);
  const Residual selected = BuildTrained(3, Options(KeptActivations::kProducts));
  const auto count = [](const Graph& graph, bool cheap) {
    return std::count_if(graph.nodes().begin(), graph.nodes().end(),
                         [cheap](const Node& node) { return node.op->cheap_to_repeat == cheap; });
  };
  // Of each block its norm, which the gradients of the bypass read. What the glu gave nobody reads.
  EXPECT_EQ(count(selected.graph, true), count(plain.graph, true) + 3);
  EXPECT_EQ(count(selected.graph, false), count(plain.graph, false));
}

TEST(RecomputeTest, EachLevelNeedsLessThanTheOneBefore) {
  const int64_t kept = PeakOf(12, kKeepAll);
  const int64_t selected = PeakOf(12, Options(KeptActivations::kProducts));
  const int64_t packed = PeakOf(12, Options(KeptActivations::kPackedProducts));
  EXPECT_LT(selected, kept);
  EXPECT_LT(packed, selected * 2 / 3);
  EXPECT_LT(PeakOf(12, Options(KeptActivations::kPackedProducts, 6)), packed);
}

// Each operand of a gradient is rounded by up to 2^-9 or 1/254 of the largest value of its block;
// through four blocks such errors add up to a few of them.
constexpr double kPackedTolerance = 0.03;

TEST(RecomputeTest, PackedGradientsDifferByTheRoundingOnly) {
  const auto kept = RunGradients(BuildTrained(4));
  const auto packed = RunGradients(BuildTrained(4, Options(KeptActivations::kPackedProducts)));
  ASSERT_EQ(packed.size(), kept.size());
  for (const auto& [name, want] : kept) {
    const std::vector<double>& got = packed.at(name);
    double largest = 0;
    double difference = 0;
    for (size_t i = 0; i < want.size(); ++i) {
      largest = std::max(largest, std::abs(want[i]));
      difference = std::max(difference, std::abs(got[i] - want[i]));
    }
    EXPECT_LT(difference, kPackedTolerance * largest) << name;
    EXPECT_GT(difference, 0) << name;
  }
}

TEST(RecomputeTest, RecomputingBlocksChangesNoBitOfPackedGradients) {
  const auto packed = RunGradients(BuildTrained(4, Options(KeptActivations::kPackedProducts)));
  for (const int64_t blocks : {int64_t{2}, kAllBlocks}) {
    EXPECT_EQ(RunGradients(BuildTrained(4, Options(KeptActivations::kPackedProducts, blocks))),
              packed);
  }
}

TEST(RecomputeTest, BetweenThePassesBlocksHoldNothingWideInF32) {
  const Residual net = BuildTrained(3, Options(KeptActivations::kPackedProducts));
  const std::span<const Node> nodes = net.graph.nodes();
  const auto reads_seed = std::find_if(nodes.begin(), nodes.end(), [&net](const Node& node) {
    return std::count(node.inputs.begin(), node.inputs.end(), net.seed) > 0;
  });
  ASSERT_NE(reads_seed, nodes.end());
  std::set<TensorId> made;
  for (auto node = nodes.begin(); node != reads_seed; ++node) {
    made.insert(node->outputs.begin(), node->outputs.end());
  }
  size_t packed = 0;
  std::set<TensorId> waiting;
  for (auto node = reads_seed; node != nodes.end(); ++node) {
    for (const TensorId id : node->inputs) {
      if (made.contains(id)) waiting.insert(id);
    }
  }
  for (const TensorId id : waiting) {
    const TensorDesc& desc = net.graph.tensor(id).desc;
    if (desc.dtype == DType::kWeight) ++packed;
    EXPECT_TRUE(desc.dtype == DType::kWeight || desc.shape.cols <= kResidualRank)
        << net.graph.tensor(id).name;
  }
  // Gate, up and the inputs of the last two blocks (the first one's is the network's).
  EXPECT_EQ(packed, 3u * 2 + 2);
}

TEST(PackPlacementTest, APackMovesToWhereItsTensorIsUsedLast) {
  Graph graph;
  const TensorId x = graph.AddInput("x", F32(4, 32));
  const TensorId twice = One(graph, "add", {x, x});
  const TensorId third = One(graph, "add", {twice, x});
  const TensorId other = One(graph, "add", {third, x});
  const Attrs bf16 = {{"format", static_cast<double>(kBF16Format.type_id)}};
  const TensorId packed = One(graph, "pack", {twice}, bf16);
  const TensorId of_input = One(graph, "pack", {x}, bf16);
  graph.MarkOutput(One(graph, "add", {One(graph, "unpack", {packed}), other}));
  graph.MarkOutput(One(graph, "unpack", {of_input}));
  PlacePacks(graph);
  std::vector<TensorId> first_outputs;
  for (const Node& node : graph.nodes()) first_outputs.push_back(node.outputs[0]);
  // `twice` is read last by the node that gives `third`, x by the one that gives `other`.
  EXPECT_EQ(std::vector<TensorId>(first_outputs.begin(), first_outputs.begin() + 5),
            (std::vector<TensorId>{twice, third, packed, other, of_input}));
}

}  // namespace
}  // namespace choir::engine
