#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include <gtest/gtest.h>

#include "base/file.h"
#include "base/random.h"
#include "engine/gguf/tensor_type.h"
#include "engine/quant/half.h"
#include "engine/quant/weight_format.h"
#include "tests/support/test_data.h"

namespace choir::engine {
namespace {

std::vector<float> LoadFloats(const std::string& path) {
  const absl::StatusOr<std::string> bytes = ReadFile(path, 1 << 24);
  EXPECT_TRUE(bytes.ok()) << bytes.status().ToString();
  std::vector<float> out(bytes->size() / sizeof(float));
  std::memcpy(out.data(), bytes->data(), bytes->size());
  return out;
}

// NaN and -0 compare by their bits.
bool SameBits(std::span<const float> x, std::span<const float> y) {
  return x.size() == y.size() && std::memcmp(x.data(), y.data(), x.size_bytes()) == 0;
}

// The vectors cover the formats that the stored models use.
bool HasVectors(const WeightFormat& format) {
  constexpr std::string_view kNames[] = {"F16",  "BF16", "Q8_0",  "Q4_0", "Q4_K",
                                         "Q5_K", "Q6_K", "TQ1_0", "TQ2_0"};
  return std::find(std::begin(kNames), std::end(kNames), format.name) != std::end(kNames);
}

TEST(WeightFormatTest, LayoutAgreesWithTheContainer) {
  for (const WeightFormat* format : AllWeightFormats()) {
    const TensorTypeLayout* layout = FindTensorTypeLayout(format->type_id);
    ASSERT_NE(layout, nullptr) << format->name;
    EXPECT_EQ(layout->name, format->name);
    EXPECT_EQ(layout->block_elements, format->block_elements) << format->name;
    EXPECT_EQ(layout->block_bytes, format->block_bytes) << format->name;
    EXPECT_EQ(FindWeightFormat(format->name), format);
    EXPECT_EQ(FindWeightFormat(format->type_id), format);
  }
}

TEST(WeightFormatTest, UnknownTypeIsUnimplementedAndListsTheKnownOnes) {
  const absl::Status status = GetWeightFormat(200).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(status.ToString().find("Q8_0"), std::string::npos);
}

TEST(WeightFormatTest, DequantizeEqualsTheVectorsBitForBit) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  for (const WeightFormat* format : AllWeightFormats()) {
    const std::string base = data + "/quant_vectors/" + std::string(format->name);
    if (!HasVectors(*format)) continue;
    const std::vector<float> want = LoadFloats(base + ".deq.f32.bin");
    const absl::StatusOr<std::string> blocks = ReadFile(base + ".q.bin", 1 << 24);
    ASSERT_TRUE(blocks.ok());
    ASSERT_EQ(blocks->size(), format->RowBytes(want.size()));
    std::vector<float> got(want.size());
    format->dequantize_row(AsBytes(*blocks), got);
    EXPECT_TRUE(SameBits(got, want)) << format->name;
  }
}

// For these the rule is fixed; the others leave a search to the writer.
TEST(WeightFormatTest, QuantizeEqualsTheVectorsBitForBit) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const std::vector<float> source = LoadFloats(data + "/quant_vectors/src.f32.bin");
  for (const char* name : {"F16", "BF16", "Q8_0", "Q4_0", "TQ1_0", "TQ2_0"}) {
    const WeightFormat* format = FindWeightFormat(name);
    ASSERT_NE(format, nullptr) << name;
    const absl::StatusOr<std::string> want =
        ReadFile(data + "/quant_vectors/" + name + ".q.bin", 1 << 24);
    ASSERT_TRUE(want.ok());
    std::vector<uint8_t> got(format->RowBytes(source.size()));
    format->quantize_row(source, got);
    EXPECT_TRUE(AsChars(got) == *want) << name;
  }
}

std::vector<float> RoundTrip(const WeightFormat& format, std::span<const float> values) {
  std::vector<uint8_t> blocks(format.RowBytes(values.size()));
  format.quantize_row(values, blocks);
  std::vector<float> back(values.size());
  format.dequantize_row(blocks, back);
  return back;
}

double RmsError(std::span<const float> x, std::span<const float> y) {
  double sum = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double off = static_cast<double>(x[i]) - static_cast<double>(y[i]);
    sum += off * off;
  }
  return std::sqrt(sum / static_cast<double>(x.size()));
}

// Every kind of row: Gaussian, ramps, spikes, constants, shifted, uneven groups, tiny, ternary.
TEST(WeightFormatTest, KQuantsAreNoWorseThanTheStoredReferenceOnAnyRow) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  constexpr size_t kCols = 512;
  const std::vector<float> source = LoadFloats(data + "/quant_vectors/src.f32.bin");
  for (const WeightFormat* format : {&kQ4_KFormat, &kQ5_KFormat, &kQ6_KFormat}) {
    const std::string name(format->name);
    const std::vector<float> theirs = LoadFloats(data + "/quant_vectors/" + name + ".deq.f32.bin");
    const std::vector<float> ours = RoundTrip(*format, source);
    for (size_t row = 0; row < source.size() / kCols; ++row) {
      const auto part = [row](const std::vector<float>& v) {
        return std::span(v).subspan(row * kCols, kCols);
      };
      const double our_error = RmsError(part(ours), part(source));
      const double their_error = RmsError(part(theirs), part(source));
      EXPECT_LE(our_error, their_error) << name << " row " << row;
    }
  }
}

// For the formats without stored vectors: blocks computed by hand from the published layouts. d and
// m are f16: 0x3800 is 0.5, 0x4000 is 2, 0xc000 is -2, 0x3c00 is 1.
std::vector<float> Decoded(const WeightFormat& format, const std::vector<uint8_t>& block) {
  EXPECT_EQ(block.size(), format.block_bytes);
  std::vector<float> out(format.block_elements);
  format.dequantize_row(block, out);
  return out;
}

TEST(HandComputedBlockTest, Q4_1) {
  std::vector<uint8_t> block(20, 0);
  block[1] = 0x38;  // d = 0.5
  block[3] = 0xc0;  // m = -2
  block[4] = 0x5f;  // element 0: 15, element 16: 5
  block[19] = 0x10;
  const std::vector<float> x = Decoded(kQ4_1Format, block);
  EXPECT_EQ(x[0], 5.5f);
  EXPECT_EQ(x[16], 0.5f);
  EXPECT_EQ(x[15], -2.0f);
  EXPECT_EQ(x[31], -1.5f);
}

TEST(HandComputedBlockTest, Q5_0) {
  std::vector<uint8_t> block(22, 0);
  block[1] = 0x38;  // d = 0.5
  block[2] = 0x01;  // fifth bits of elements 0, 31
  block[5] = 0x80;
  block[6] = 0x5f;   // element 0: 15, element 16: 5
  block[21] = 0x10;  // element 31: 1
  const std::vector<float> x = Decoded(kQ5_0Format, block);
  EXPECT_EQ(x[0], 0.5f * (31 - 16));
  EXPECT_EQ(x[16], 0.5f * (5 - 16));
  EXPECT_EQ(x[31], 0.5f * (17 - 16));
  EXPECT_EQ(x[1], -8.0f);
}

TEST(HandComputedBlockTest, Q5_1) {
  std::vector<uint8_t> block(24, 0);
  block[1] = 0x38;   // d = 0.5
  block[3] = 0xc0;   // m = -2
  block[5] = 0x01;   // fifth bit of element 8
  block[8] = 0x20;   // element 16: 2
  block[16] = 0x03;  // element 8: 3
  const std::vector<float> x = Decoded(kQ5_1Format, block);
  EXPECT_EQ(x[8], 0.5f * 19 - 2);
  EXPECT_EQ(x[16], 0.5f * 2 - 2);
  EXPECT_EQ(x[0], -2.0f);
}

TEST(HandComputedBlockTest, Q2_K) {
  std::vector<uint8_t> block(84, 0);
  block[0] = 0x31;        // group 0 (elements 0-15): s = 1, m = 3
  block[3] = 0x0f;        // group 3 (48-63): s = 15, m = 0
  block[9] = 0x25;        // group 9 (144-159): s = 5, m = 2
  block[16] = 0x02;       // element 0: 2
  block[16 + 17] = 0x0c;  // byte 17, bits 2-3: element 49: 3
  block[16 + 48] = 0x01;  // second half, byte 16: element 144: 1
  block[81] = 0x38;       // d = 0.5
  block[83] = 0x40;       // dmin = 2
  const std::vector<float> x = Decoded(kQ2_KFormat, block);
  EXPECT_EQ(x[0], 0.5f * 1 * 2 - 2 * 3);
  EXPECT_EQ(x[1], -6.0f);
  EXPECT_EQ(x[49], 0.5f * 15 * 3);
  EXPECT_EQ(x[144], 0.5f * 5 * 1 - 2 * 2);
  EXPECT_EQ(x[255], 0.0f);
}

TEST(HandComputedBlockTest, Q3_K) {
  std::vector<uint8_t> block(110, 0);
  // Scales, stored plus 32. Group 0: 33 = 1 + 2 * 16; group 8: 20 = 4 + 1 * 16; group 15: 63.
  block[96 + 0] = 0x41;        // low nibbles of groups 0 (1) and 8 (4)
  block[96 + 7] = 0xf0;        // of groups 7 (0) and 15 (15)
  block[104 + 0] = 0x12;       // upper bits: group 0: 2, group 8 (bits 4-5): 1
  block[104 + 3] = 0xc0;       // group 15 (bits 6-7): 3
  block[109] = 0x38;           // d = 0.5
  block[32] = 0x03;            // element 0: low bits 3
  block[0] = 0x11;             // third bits of elements 0 and 128 (bit 4)
  block[32 + 32 + 31] = 0x80;  // element 128 + 96 + 31 = 255: low bits 2
  const std::vector<float> x = Decoded(kQ3_KFormat, block);
  EXPECT_EQ(x[0], 0.5f * (33 - 32) * (7 - 4));
  EXPECT_EQ(x[1], 0.5f * (33 - 32) * (0 - 4));
  EXPECT_EQ(x[128], 0.5f * (20 - 32) * (4 - 4));
  EXPECT_EQ(x[129], 0.5f * (20 - 32) * (0 - 4));
  EXPECT_EQ(x[255], 0.5f * (63 - 32) * (2 - 4));
  EXPECT_EQ(x[112], 0.5f * (0 - 32) * (0 - 4));  // group 7
}

// A step of the grid spans the range of a group; half a step is the error of a value on it.
TEST(WeightFormatTest, ErrorsStayWithinTheStepsOfTheGrid) {
  const struct {
    const WeightFormat* format;
    double largest;  // as a share of the largest magnitude, for values all over [-1, 1]
  } cases[] = {{&kQ4_1Format, 1.0 / 15},
               {&kQ5_0Format, 1.0 / 16},
               {&kQ5_1Format, 1.0 / 31},
               {&kQ2_KFormat, 1.0 / 2},
               {&kQ3_KFormat, 1.0 / 3}};
  SeededRng rng(7);
  std::vector<float> values(256 * 40);
  for (float& value : values) value = static_cast<float>(2 * rng.NextUnit() - 1);
  for (const auto& [format, largest] : cases) {
    const std::vector<float> back = RoundTrip(*format, values);
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_LE(std::fabs(back[i] - values[i]), largest + 1e-3) << format->name << " " << i;
    }
  }
}

TEST(WeightFormatTest, RoundTripOfF32KeepsEveryBit) {
  std::vector<float> values = {0.0f, -0.0f, 1.5f, std::numeric_limits<float>::infinity(),
                               NAN,  1e-45f};
  std::vector<uint8_t> blocks(kF32Format.RowBytes(values.size()));
  kF32Format.quantize_row(values, blocks);
  std::vector<float> back(values.size());
  kF32Format.dequantize_row(blocks, back);
  EXPECT_TRUE(SameBits(back, values));
}

TEST(WeightFormatTest, NonFiniteInputDoesNotOverflowTheIntegersOfQ8) {
  std::vector<float> values(32, 1.0f);
  values[3] = std::numeric_limits<float>::infinity();
  values[4] = NAN;
  std::vector<uint8_t> blocks(kQ8_0Format.block_bytes);
  kQ8_0Format.quantize_row(values, blocks);
  std::vector<float> back(32);
  kQ8_0Format.dequantize_row(blocks, back);
  EXPECT_FALSE(std::isfinite(back[3]));
}

TEST(WeightFormatTest, UnalignedBlocksAreRead) {
  std::vector<float> values(64);
  for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<float>(i) - 31.0f;
  for (const WeightFormat* format : AllWeightFormats()) {
    if (format->quantize_row == nullptr || values.size() % format->block_elements != 0) continue;
    std::vector<uint8_t> shifted(1 + format->RowBytes(values.size()));
    format->quantize_row(values, std::span(shifted).subspan(1));
    std::vector<float> back(values.size());
    format->dequantize_row(std::span(shifted).subspan(1), back);
    EXPECT_NEAR(back[63], 32.0f, 0.01f) << format->name;
  }
}

TEST(HalfTest, EveryF16SurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const float value = F16ToF32(static_cast<uint16_t>(bits));
    if (std::isnan(value)) {
      EXPECT_TRUE(std::isnan(F16ToF32(F32ToF16(value))));
    } else {
      ASSERT_EQ(F32ToF16(value), bits) << bits;
    }
  }
}

// The nearest f16 by exhaustive comparison of the two neighbours, ties to the even one.
TEST(HalfTest, F32RoundsToTheNearestF16) {
  SeededRng rng(1);
  for (int i = 0; i < 200000; ++i) {
    const auto exponent = static_cast<int>(rng.NextBelow(42)) - 26;
    const float value = std::ldexp(static_cast<float>(1.0 + rng.NextUnit()), exponent);
    const uint16_t half = F32ToF16(value);
    if (value >= 65520.0f) {
      ASSERT_EQ(half, 0x7c00);
      continue;
    }
    const double error = std::fabs(static_cast<double>(F16ToF32(half)) - value);
    const double above = std::fabs(static_cast<double>(F16ToF32(half + 1)) - value);
    ASSERT_LE(error, above) << value;
    if (half > 0) {
      ASSERT_LE(error, std::fabs(static_cast<double>(F16ToF32(half - 1)) - value));
    }
  }
  EXPECT_EQ(F32ToF16(2049.0f), F32ToF16(2048.0f));  // tie to even
  EXPECT_EQ(F32ToF16(2051.0f), F32ToF16(2052.0f));
  EXPECT_EQ(F32ToF16(0x1p-25f), 0);  // tie between 0 and the smallest
  EXPECT_EQ(F32ToF16(65519.996f), 0x7bff);
  EXPECT_EQ(F32ToF16(-65520.0f), 0xfc00);
}

TEST(HalfTest, Bf16RoundsTiesToEvenAndKeepsNan) {
  EXPECT_EQ(F32ToBf16(std::bit_cast<float>(0x3f808000u)), 0x3f80);
  EXPECT_EQ(F32ToBf16(std::bit_cast<float>(0x3f818000u)), 0x3f82);
  EXPECT_EQ(F32ToBf16(std::bit_cast<float>(0x3f808001u)), 0x3f81);
  EXPECT_TRUE(std::isnan(Bf16ToF32(F32ToBf16(std::bit_cast<float>(0x7f800001u)))));
  EXPECT_TRUE(std::isinf(Bf16ToF32(F32ToBf16(std::numeric_limits<float>::max()))));
}

}  // namespace
}  // namespace choir::engine
