#include "engine/lora/latent.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace choir::engine {
namespace {

// One pair of (out 5, in 4, rank 3) and one of (out 2, in 3, rank 1), with made-up values.
Adapter TwoPairs() {
  Adapter adapter;
  adapter.alpha = 2;
  adapter.architecture = "llama";
  adapter.pairs.push_back({"blk.0.attn_q.weight", 5, 4, 3, {}, {}});
  adapter.pairs.push_back({"blk.0.attn_v.weight", 2, 3, 1, {}, {}});
  for (LoraPair& pair : adapter.pairs) {
    for (int64_t i = 0; i < pair.rank * pair.cols; ++i) {
      pair.a.push_back(static_cast<float>(std::sin(static_cast<double>(3 * i + 1))));
    }
    for (int64_t i = 0; i < pair.rows * pair.rank; ++i) {
      pair.b.push_back(static_cast<float>(std::cos(static_cast<double>(2 * i))));
    }
  }
  return adapter;
}

// (B A)[i][j] of a pair.
double Product(const LoraPair& pair, int64_t i, int64_t j) {
  double sum = 0;
  for (int64_t k = 0; k < pair.rank; ++k) {
    sum += double{pair.b[static_cast<size_t>(i * pair.rank + k)]} *
           double{pair.a[static_cast<size_t>(k * pair.cols + j)]};
  }
  return sum;
}

void ExpectSameProducts(const Adapter& x, const Adapter& y) {
  for (size_t n = 0; n < x.pairs.size(); ++n) {
    for (int64_t i = 0; i < x.pairs[n].rows; ++i) {
      for (int64_t j = 0; j < x.pairs[n].cols; ++j) {
        // A few f32 roundings of numbers about 1.
        EXPECT_NEAR(Product(x.pairs[n], i, j), Product(y.pairs[n], i, j), 2e-6) << n;
      }
    }
  }
}

TEST(LatentTest, DecompositionKeepsTheProductAndItsBasisIsOrthonormal) {
  const auto start = MakeLatent(TwoPairs());
  ASSERT_TRUE(start.ok()) << start.status();
  ExpectSameProducts(start->adapter, TwoPairs());
  const absl::Status fits = CheckBasis(start->basis, start->adapter);
  EXPECT_TRUE(fits.ok()) << fits;
}

// The core of U S in the basis U is S: diagonal, falling, not negative.
TEST(LatentTest, CoreOfTheStartIsItsSingularValues) {
  const auto start = MakeLatent(TwoPairs());
  const std::vector<float> core = CoreOf(start->adapter, start->basis);
  ASSERT_EQ(core.size(), CoreLength(TwoPairs()));
  for (size_t p = 0; p < 3; ++p) {
    for (size_t q = 0; q < 3; ++q) {
      if (p == q) continue;
      EXPECT_NEAR(double{core[3 * p + q]}, 0, 1e-6);
    }
  }
  EXPECT_GE(core[0], core[4]);
  EXPECT_GE(core[4], core[8]);
  EXPECT_GE(core[8], 0);
}

TEST(LatentTest, CoresRoundTripThroughTheAdapter) {
  auto start = MakeLatent(TwoPairs());
  std::vector<float> core(CoreLength(TwoPairs()));
  for (size_t i = 0; i < core.size(); ++i) core[i] = 0.5f * static_cast<float>(i) - 2;
  ASSERT_TRUE(SetCore(start->adapter, start->basis, core).ok());
  EXPECT_THAT(CoreOf(start->adapter, start->basis),
              testing::Pointwise(testing::FloatNear(3e-6f), core));
  EXPECT_EQ(SetCore(start->adapter, start->basis, std::vector<float>(3)).code(),
            absl::StatusCode::kInvalidArgument);
}

// A fresh adapter has B = 0: every basis is as good, and it must still be one.
TEST(LatentTest, AdapterWithoutBHasABasisToo) {
  Adapter fresh = TwoPairs();
  for (LoraPair& pair : fresh.pairs) pair.b.assign(pair.b.size(), 0.0f);
  const auto start = MakeLatent(fresh);
  ASSERT_TRUE(start.ok()) << start.status();
  EXPECT_TRUE(CheckBasis(start->basis, start->adapter).ok());
  ExpectSameProducts(start->adapter, fresh);
}

TEST(LatentTest, BasisThatHidesADirectionIsRefused) {
  const auto start = MakeLatent(TwoPairs());
  Adapter bad = start->basis;
  for (size_t i = 0; i < 5; ++i) bad.pairs[0].b[3 * i] = 0;
  EXPECT_EQ(CheckBasis(bad, start->adapter).code(), absl::StatusCode::kInvalidArgument);
  bad = start->basis;
  bad.pairs[1].b[0] = std::nanf("");
  EXPECT_FALSE(CheckBasis(bad, start->adapter).ok());
  bad = start->basis;
  bad.pairs[0].a[0] += 1;
  EXPECT_FALSE(CheckBasis(bad, start->adapter).ok());
}

TEST(LatentTest, RankAboveTheMatrixIsRefused) {
  Adapter wide = TwoPairs();
  wide.pairs[1] = {"blk.0.attn_v.weight",   1, 3, 2, std::vector<float>(6, 1),
                   std::vector<float>(2, 1)};
  EXPECT_EQ(MakeLatent(wide).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace choir::engine
