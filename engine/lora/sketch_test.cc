#include "engine/lora/sketch.h"

#include <cmath>

#include <gtest/gtest.h>

#include "base/random.h"

namespace choir::engine {
namespace {

// (out 12, in 10, rank 2) and (out 5, in 30, rank 1), values from `seed`.
Adapter Random(uint64_t seed) {
  Adapter adapter;
  adapter.alpha = 2;
  adapter.architecture = "llama";
  adapter.pairs.push_back(
      {"blk.0.attn_q.weight", 12, 10, 2, std::vector<float>(20), std::vector<float>(24)});
  adapter.pairs.push_back(
      {"blk.0.attn_v.weight", 5, 30, 1, std::vector<float>(30), std::vector<float>(5)});
  SeededRng rng(seed);
  for (LoraPair& pair : adapter.pairs) {
    for (float& value : pair.a) value = static_cast<float>(rng.NextNormal());
    for (float& value : pair.b) value = static_cast<float>(rng.NextNormal());
  }
  return adapter;
}

std::vector<double> Product(const LoraPair& pair) {
  std::vector<double> out;
  for (int64_t i = 0; i < pair.rows; ++i) {
    for (int64_t j = 0; j < pair.cols; ++j) {
      double sum = 0;
      for (int64_t k = 0; k < pair.rank; ++k) {
        sum += double{pair.b[static_cast<size_t>(i * pair.rank + k)]} *
               double{pair.a[static_cast<size_t>(k * pair.cols + j)]};
      }
      out.push_back(sum);
    }
  }
  return out;
}

// The mean of both sketches of these adapters.
template <typename Sketch>
std::vector<float> Mean(const std::vector<Adapter>& adapters, Sketch sketch) {
  std::vector<double> sum;
  for (const Adapter& adapter : adapters) {
    const std::vector<float> one = sketch(adapter);
    sum.resize(one.size());
    for (size_t i = 0; i < one.size(); ++i) sum[i] += double{one[i]};
  }
  std::vector<float> mean;
  for (const double value : sum) {
    mean.push_back(static_cast<float>(value / static_cast<double>(adapters.size())));
  }
  return mean;
}

Adapter Merged(const std::vector<Adapter>& adapters, Adapter* basis = nullptr) {
  const auto left = Mean(adapters, [](const Adapter& a) { return LeftSketch(a, 7); });
  const Adapter q = SketchBasis(adapters[0], left).value();
  if (basis != nullptr) *basis = q;
  const auto right = Mean(adapters, [&q](const Adapter& a) { return RightSketch(a, q); });
  return AdapterFromSketch(adapters[0], q, right).value();
}

// One adapter: its product has the adapter's rank, so nothing is lost.
TEST(SketchTest, ProductOfTheRankComesBackExactly) {
  const Adapter start = Random(1);
  const Adapter again = Merged({start});
  for (size_t n = 0; n < start.pairs.size(); ++n) {
    const std::vector<double> wanted = Product(start.pairs[n]);
    const std::vector<double> found = Product(again.pairs[n]);
    for (size_t i = 0; i < wanted.size(); ++i) EXPECT_NEAR(found[i], wanted[i], 3e-5);
  }
}

// Three adapters of rank 2: their mean product has rank 6 = s, which the basis holds; the adapter
// is then the best of rank 2, and by Eckart and Young no other of rank 2 is nearer.
TEST(SketchTest, MeanProductIsNearerThanTheProductOfTheMeans) {
  const std::vector<Adapter> three = {Random(1), Random(2), Random(3)};
  const Adapter merged = Merged(three);
  Adapter averaged = three[0];
  ASSERT_TRUE(AddScaled(averaged, 1, three[1]).ok());
  ASSERT_TRUE(AddScaled(averaged, 1, three[2]).ok());
  for (size_t n = 0; n < merged.pairs.size(); ++n) {
    std::vector<double> mean(Product(merged.pairs[n]).size());
    for (const Adapter& adapter : three) {
      const std::vector<double> one = Product(adapter.pairs[n]);
      for (size_t i = 0; i < mean.size(); ++i) mean[i] += one[i] / 3;
    }
    const auto distance = [&mean](const std::vector<double>& other, double factor) {
      double sum = 0;
      for (size_t i = 0; i < mean.size(); ++i) sum += std::pow(mean[i] - factor * other[i], 2);
      return std::sqrt(sum);
    };
    const double sketched = distance(Product(merged.pairs[n]), 1);
    EXPECT_LT(sketched, distance(Product(averaged.pairs[n]), 1.0 / 9)) << n;
    EXPECT_LT(sketched, distance(mean, 0)) << n;
  }
}

TEST(SketchTest, BasisIsCheckedBeforeItIsUsed) {
  Adapter basis;
  const Adapter start = Random(1);
  (void)Merged({start}, &basis);
  EXPECT_TRUE(CheckSketchBasis(basis, start).ok());
  Adapter hidden = basis;
  for (size_t i = 0; i < 12; ++i) hidden.pairs[0].b[6 * i] = 0;
  EXPECT_EQ(CheckSketchBasis(hidden, start).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(CheckSketchBasis(start, start).ok());
}

TEST(SketchTest, LengthsAreThoseOfTheSketches) {
  const Adapter start = Random(1);
  EXPECT_EQ(LeftSketchLength(start), 12u * 6 + 5 * 5);
  EXPECT_EQ(LeftSketch(start, 1).size(), LeftSketchLength(start));
  EXPECT_NE(LeftSketch(start, 1), LeftSketch(start, 2));
  EXPECT_EQ(RightSketchLength(start), 6u * 10 + 5 * 30);
  EXPECT_FALSE(SketchBasis(start, std::vector<float>(3)).ok());
}

}  // namespace
}  // namespace choir::engine
