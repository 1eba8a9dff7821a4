#include "secure-agg/core/graph.h"

#include <algorithm>
#include <map>
#include <set>

#include <gtest/gtest.h>

#include "secure-agg/core/graph_parameters.h"
#include "secure-agg/core/membership.h"
#include "secure-agg/core/merkle.h"

namespace choir::secagg {
namespace {

constexpr CoordinatorModel kCurious = CoordinatorModel::kCurious;
constexpr CoordinatorModel kLying = CoordinatorModel::kLying;

struct Found {
  uint32_t n, corrupt, dropout;
  CoordinatorModel coordinator;
  uint32_t k, t;
};

void ExpectFound(const Found& want) {
  const auto found = FindGraphParameters({want.n, want.corrupt, want.dropout, want.coordinator});
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->degree, want.k);
  EXPECT_EQ(found->threshold, want.t);
}

// The test values of Google's Federated Compute library, graph_parameter_finder_test.cc.
TEST(GraphParametersTest, PublishedValues) {
  const Found values[] = {{100, 33, 33, kCurious, 68, 34},    {1000, 33, 33, kCurious, 286, 150},
                          {1000, 5, 33, kCurious, 72, 24},    {1000, 5, 33, kLying, 398, 223},
                          {10000, 5, 5, kLying, 62, 44},      {100, 33, 5, kLying, 42, 37},
                          {1000, 33, 5, kLying, 132, 109},    {1000, 30, 30, kLying, 872, 584},
                          {10000, 33, 33, kCurious, 422, 221}};
  for (const Found& value : values) {
    SCOPED_TRACE(value.n);
    ExpectFound(value);
  }
}

constexpr uint32_t kSizes[] = {10, 20, 50, 100, 200, 500, 1000, 10000};
struct Row {
  uint32_t corrupt, dropout;
  uint32_t kt[8][2];
};

void ExpectTable(std::span<const Row> rows, CoordinatorModel coordinator) {
  for (const Row& row : rows) {
    for (size_t i = 0; i < std::size(kSizes); ++i) {
      SCOPED_TRACE(::testing::Message()
                   << row.corrupt << " % corrupt, " << row.dropout << " % silent of " << kSizes[i]);
      if (row.kt[i][0] == 0) {
        EXPECT_FALSE(
            FindGraphParameters({kSizes[i], row.corrupt, row.dropout, coordinator}).has_value());
      } else {
        ExpectFound({kSizes[i], row.corrupt, row.dropout, coordinator, row.kt[i][0], row.kt[i][1]});
      }
    }
  }
}

TEST(GraphParametersTest, TableForACuriousCoordinator) {
  const Row rows[] = {
      {5, 10, {{2, 2}, {4, 2}, {8, 3}, {16, 6}, {24, 11}, {32, 17}, {36, 19}, {42, 22}}},
      {5, 30, {{4, 2}, {8, 2}, {18, 3}, {26, 6}, {38, 11}, {58, 20}, {66, 23}, {80, 29}}},
      {10, 20, {{4, 2}, {8, 3}, {16, 6}, {28, 11}, {44, 20}, {58, 28}, {66, 31}, {78, 37}}},
      {20, 20, {{6, 3}, {10, 5}, {22, 11}, {40, 21}, {62, 34}, {88, 48}, {98, 54}, {122, 67}}},
      {20, 30, {{6, 3}, {12, 5}, {26, 11}, {48, 21}, {80, 38}, {120, 57}, {140, 67}, {182, 87}}},
      {33, 10, {{6, 4}, {10, 7}, {22, 17}, {42, 32}, {66, 47}, {90, 64}, {102, 72}, {126, 88}}},
      {33,
       30,
       {{8, 4}, {14, 7}, {32, 17}, {64, 34}, {116, 63}, {192, 105}, {250, 136}, {356, 193}}}};
  ExpectTable(rows, kCurious);
}

TEST(GraphParametersTest, TableForALyingCoordinator) {
  const Row rows[] = {
      {5, 10, {{4, 3}, {6, 4}, {14, 9}, {26, 16}, {42, 27}, {66, 44}, {78, 52}, {96, 64}}},
      {5, 30, {{8, 5}, {14, 8}, {34, 19}, {66, 36}, {116, 64}, {212, 119}, {314, 179}, {522, 299}}},
      {10, 10, {{4, 3}, {8, 6}, {16, 11}, {32, 22}, {56, 39}, {82, 57}, {96, 67}, {122, 85}}},
      {10, 20, {{6, 4}, {12, 8}, {26, 16}, {52, 32}, {88, 55}, {152, 97}, {194, 124}, {280, 179}}},
      {20,
       20,
       {{8, 6}, {14, 10}, {32, 22}, {62, 42}, {118, 80}, {220, 150}, {302, 206}, {482, 328}}},
      {20,
       30,
       {{0, 0}, {18, 12}, {42, 27}, {82, 52}, {162, 102}, {376, 239}, {642, 409}, {1790, 1140}}},
      {33,
       10,
       {{6, 5}, {12, 10}, {28, 23}, {54, 44}, {98, 78}, {168, 132}, {218, 171}, {310, 242}}},
      {33, 30, {}}};
  ExpectTable(rows, kLying);
}

// n/t of the complete graph, and what may be lost after the shares.
TEST(GraphShapeTest, CompleteGraphsOfTheDesign) {
  const uint32_t values[][2] = {{3, 3},   {5, 4},   {8, 6},   {10, 7},   {16, 11}, {20, 14},
                                {32, 22}, {50, 34}, {64, 43}, {100, 67}, {128, 86}};
  for (const auto& [n, t] : values) {
    EXPECT_EQ(ShapeOf(SessionConfig(), n), (GraphShape{n, n - 1, t, t}));
  }
}

TEST(CohortGraphTest, CompleteGraphJoinsEachToAllOthers) {
  const CohortGraph graph(ShapeOf(SessionConfig(), 4), {});
  EXPECT_EQ(graph.Neighbours(2), (std::vector<uint32_t>{0, 1, 3}));
  EXPECT_EQ(graph.Holders(2), (std::vector<uint32_t>{0, 1, 2, 3}));
}

SessionConfig Regular(uint8_t corrupt, uint8_t dropout) {
  SessionConfig config;
  config.graph = GraphKind::kRegular;
  config.threshold_rule = ThresholdRule::kNeighbourhood;
  config.corrupt_percent = corrupt;
  config.dropout_percent = dropout;
  return config;
}

TEST(GraphShapeTest, RegularGraphsKeepTheirFloors) {
  EXPECT_TRUE(ShapeOf(Regular(5, 10), 19).complete());
  const GraphShape small = ShapeOf(Regular(5, 10), 20);  // 6/4 by the statistics alone
  EXPECT_EQ(small.degree, 10u);
  EXPECT_GE(small.threshold, 5u);
  EXPECT_EQ(small.quorum, 18u);
  EXPECT_EQ(ShapeOf(Regular(5, 10), 1000), (GraphShape{1000, 78, 52, 900}));
}

TEST(CohortGraphTest, EachNodeHasKNeighboursAndEdgesHaveTwoEnds) {
  for (const uint32_t n : {20u, 33u, 150u, 1000u}) {
    const CohortGraph graph(ShapeOf(Regular(10, 10), n), Sha256Of("seed"));
    for (uint32_t i = 0; i < n; ++i) {
      const std::vector<uint32_t> neighbours = graph.Neighbours(i);
      ASSERT_EQ(neighbours.size(), graph.shape().degree);
      ASSERT_EQ(graph.Holders(i), neighbours);
      for (const uint32_t other : neighbours) {
        ASSERT_NE(other, i);
        ASSERT_TRUE(std::ranges::binary_search(graph.Neighbours(other), i));
      }
      ASSERT_TRUE(std::ranges::adjacent_find(neighbours) == neighbours.end());
    }
  }
}

TEST(CohortGraphTest, TheSeedDrawsTheRing) {
  const GraphShape shape = ShapeOf(Regular(10, 10), 200);
  const CohortGraph one(shape, Sha256Of("one"));
  EXPECT_EQ(one.Neighbours(7), CohortGraph(shape, Sha256Of("one")).Neighbours(7));
  EXPECT_NE(one.Neighbours(7), CohortGraph(shape, Sha256Of("two")).Neighbours(7));
}

// Over many seeds each other node is a neighbour equally often: k of n - 1 times.
TEST(CohortGraphTest, NeighboursAreUniform) {
  const GraphShape shape = ShapeOf(Regular(5, 10), 40);
  constexpr int kSeeds = 2000;
  std::map<uint32_t, int> times;
  for (int seed = 0; seed < kSeeds; ++seed) {
    const CohortGraph graph(shape, Sha256Of(std::to_string(seed)));
    for (const uint32_t other : graph.Neighbours(3)) ++times[other];
  }
  EXPECT_EQ(times.size(), 39u);
  const double p = static_cast<double>(shape.degree) / 39;
  // Five standard deviations of a binomial; the seeds are fixed, so this cannot flicker.
  const double spread = 5 * std::sqrt(kSeeds * p * (1 - p));
  for (const auto& [other, count] : times) EXPECT_NEAR(count, kSeeds * p, spread) << other;
}

TEST(CohortGraphTest, CoversAsksEachOwnerForTHolders) {
  const GraphShape shape = ShapeOf(Regular(10, 10), 60);
  const CohortGraph graph(shape, Sha256Of("seed"));
  const std::vector<bool> all(60, true);
  EXPECT_TRUE(graph.Covers(all, all));
  const std::vector<uint32_t> holders = graph.Holders(5);
  std::vector<bool> present = all;
  for (uint32_t i = 0; i < shape.degree - shape.threshold; ++i) present[holders[i]] = false;
  std::vector<bool> owner(60);
  owner[5] = true;
  EXPECT_TRUE(graph.Covers(owner, present));
  present[holders[shape.degree - shape.threshold]] = false;
  EXPECT_FALSE(graph.Covers(owner, present));
  EXPECT_FALSE(graph.Covers(all, present));
}

TEST(MerkleTest, EveryLeafLeadsToTheRootAndNoOtherDoes) {
  for (uint32_t n : {1u, 2u, 3u, 5u, 8u, 13u, 100u}) {
    std::vector<Digest> leaves;
    for (uint32_t i = 0; i < n; ++i) leaves.push_back(Sha256Of(std::to_string(i)));
    const MerkleTree tree(leaves);
    for (uint32_t i = 0; i < n; ++i) {
      const std::vector<Digest> path = tree.Path(i);
      EXPECT_EQ(RootOf(leaves[i], i, n, path), tree.root());
      EXPECT_NE(RootOf(Sha256Of("other"), i, n, path), tree.root());
      EXPECT_EQ(RootOf(leaves[i], n, n, path), std::nullopt);
      std::vector<Digest> longer = path;
      longer.push_back({});
      EXPECT_EQ(RootOf(leaves[i], i, n, longer), std::nullopt);
      if (path.empty()) continue;
      EXPECT_EQ(RootOf(leaves[i], i, n, std::span(path).first(path.size() - 1)), std::nullopt);
      EXPECT_NE(RootOf(leaves[i], (i + 1) % n, n, path), tree.root());
    }
  }
}

TEST(PlacesTest, PackedSetsHaveOneSpelling) {
  std::vector<bool> set(11);
  set[0] = set[9] = true;
  EXPECT_EQ(PackPlaces(set), (std::vector<uint8_t>{1, 2}));
  EXPECT_EQ(UnpackPlaces(PackPlaces(set), 11), set);
  EXPECT_EQ(UnpackPlaces(std::vector<uint8_t>{1}, 11), std::nullopt);
  EXPECT_EQ(UnpackPlaces(std::vector<uint8_t>{1, 2, 0}, 11), std::nullopt);
  EXPECT_EQ(UnpackPlaces(std::vector<uint8_t>{1, 8}, 11), std::nullopt);
}

}  // namespace
}  // namespace choir::secagg
