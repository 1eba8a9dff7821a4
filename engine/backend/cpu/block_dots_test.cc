#include "engine/backend/cpu/block_dots.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"

#include "engine/backend/cpu/aligned_bytes.h"
#include "engine/quant/weight_format.h"
#include "hwy/targets.h"

namespace choir::engine {
namespace {

// Deterministic values in [-1, 1), one of them twenty times as large, as activations have them.
std::vector<float> Values(size_t count, uint32_t seed) {
  std::vector<float> values(count);
  for (float& value : values) {
    seed = seed * 1664525u + 1013904223u;
    value = static_cast<float>(seed >> 8) / 8388608.0F - 1.0F;
  }
  values[count / 3] = 20;
  return values;
}

// Rows of one format, which end with their memory: a sanitizer sees what reads beyond.
struct Rows {
  Rows(const WeightFormat& weight_format, size_t num_rows, size_t num_cols)
      : format(weight_format), cols(num_cols), blocks(format.RowBytes(cols) * num_rows) {
    for (size_t r = 0; r < num_rows; ++r) {
      format.quantize_row(
          Values(cols, static_cast<uint32_t>(r + 1)),
          std::span(blocks).subspan(r * format.RowBytes(cols), format.RowBytes(cols)));
    }
  }
  // x . row, and the sum of the products' magnitudes, in double precision.
  struct Product {
    double value = 0;
    double magnitude = 0;
  };
  [[nodiscard]] Product Dot(size_t row, const std::vector<float>& x) const {
    std::vector<float> weights(cols);
    const size_t bytes = format.RowBytes(cols);
    format.dequantize_row(std::span(blocks).subspan(row * bytes, bytes), weights);
    Product product;
    for (size_t i = 0; i < cols; ++i) {
      const double term = static_cast<double>(weights[i]) * static_cast<double>(x[i]);
      product.value += term;
      product.magnitude += std::abs(term);
    }
    return product;
  }

  const WeightFormat& format;
  size_t cols;
  std::vector<uint8_t> blocks;
};

std::vector<float> Products(const Rows& rows, DotPrecision precision, const std::vector<float>& x,
                            size_t first, size_t count) {
  const BlockDots dots(rows.format, static_cast<int64_t>(rows.cols), precision);
  const auto prepared = *AlignedBytes::Allocate(static_cast<uint64_t>(dots.prepared_bytes()));
  // What a step before left behind must not matter.
  std::memset(prepared.data(), 0xa5, static_cast<size_t>(dots.prepared_bytes()));
  dots.Prepare(x.data(), prepared.data());
  std::vector<float> out(count);
  dots.Run(prepared.data(), rows.blocks.data() + first * rows.format.RowBytes(rows.cols),
           static_cast<int64_t>(count), out.data());
  return out;
}

std::vector<const WeightFormat*> Formats() {
  std::vector<const WeightFormat*> formats;
  for (const WeightFormat* const format : AllWeightFormats()) {
    if (BlockDots::Has(*format)) formats.push_back(format);
  }
  return formats;
}

TEST(BlockDotsTest, TheFormatsOfMostModelsHaveALoop) {
  if (Formats().empty()) GTEST_SKIP() << "this CPU has no vectors";
  for (const WeightFormat* const format :
       {&kF32Format, &kF16Format, &kBF16Format, &kQ8_0Format, &kQ4_0Format, &kQ4_KFormat,
        &kQ6_KFormat, &kTQ2_0Format, &kTQ1_0Format}) {
    EXPECT_TRUE(BlockDots::Has(*format)) << format->name;
  }
}

void ExpectRowsOfAnyLength() {
  for (const WeightFormat* const format : Formats()) {
    // Steps of four blocks that fill, that end early, and rows shorter than a step.
    for (const size_t blocks : {1, 2, 3, 4, 5, 7, 8, 13}) {
      const Rows rows(*format, 3, blocks * format->block_elements);
      const std::vector<float> x = Values(rows.cols, 77);
      for (const DotPrecision precision : {DotPrecision::kShort, DotPrecision::k31Bits}) {
        // Half a unit of the largest element of a block, which is 20 where others are about 0.5,
        // on a sum that keeps a few of its rounding errors; f32's own rounding otherwise.
        const double tolerance = precision == DotPrecision::kShort ? 1e-3 : 2e-6;
        const std::vector<float> got = Products(rows, precision, x, 0, 3);
        for (size_t r = 0; r < 3; ++r) {
          const Rows::Product want = rows.Dot(r, x);
          EXPECT_NEAR(static_cast<double>(got[r]), want.value, tolerance * want.magnitude + 1e-9)
              << format->name << ", " << blocks << " blocks";
        }
      }
    }
  }
}

TEST(BlockDotsTest, RowsOfAnyLengthAreAsExactAsTheirPrecisionSays) {
  ExpectRowsOfAnyLength();
}

// Those that this CPU would not choose by itself.
TEST(BlockDotsTest, EveryInstructionSetOfThisCpuIsAsExact) {
  for (int64_t target = hwy::SupportedTargets(); target != 0; target &= target - 1) {
    const int64_t one = target & -target;
    SCOPED_TRACE(hwy::TargetName(one));
    hwy::SetSupportedTargetsForTest(one);
    hwy::GetChosenTarget().Update(one);
    ExpectRowsOfAnyLength();
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(BlockDotsTest, ARowIsTheSameInEveryRange) {
  for (const WeightFormat* const format : Formats()) {
    const Rows rows(*format, 7, 5 * format->block_elements);
    const std::vector<float> x = Values(rows.cols, 5);
    const std::vector<float> all = Products(rows, DotPrecision::kShort, x, 0, 7);
    for (size_t first = 0; first < 7; ++first) {
      const std::vector<float> some = Products(rows, DotPrecision::kShort, x, first, 7 - first);
      EXPECT_EQ(std::memcmp(some.data(), all.data() + first, some.size() * sizeof(float)), 0)
          << format->name << " from row " << first;
    }
  }
}

TEST(BlockDotsTest, ZerosGiveZeroAndWhatIsNotFiniteStaysSo) {
  for (const WeightFormat* const format : Formats()) {
    const Rows rows(*format, 2, 4 * format->block_elements);
    std::vector<float> x(rows.cols, 0.0F);
    for (const DotPrecision precision : {DotPrecision::kShort, DotPrecision::k31Bits}) {
      x[1] = 0;
      EXPECT_EQ(Products(rows, precision, x, 0, 2), std::vector<float>(2, 0.0F)) << format->name;
      for (const float bad :
           {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
        x[1] = bad;
        EXPECT_FALSE(std::isfinite(Products(rows, precision, x, 0, 2)[1])) << format->name;
      }
    }
  }
}

}  // namespace
}  // namespace choir::engine
