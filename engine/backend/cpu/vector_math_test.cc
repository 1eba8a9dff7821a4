#include "engine/backend/cpu/vector_math.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"

#include "engine/quant/half.h"
#include "hwy/targets.h"

namespace choir::engine {
namespace {

// Floats around every half: itself, its neighbours, and the tie with the next one.
std::vector<float> AroundHalves() {
  std::vector<float> values;
  for (uint32_t half = 0; half < 0x10000; ++half) {
    const float value = F16ToF32(static_cast<uint16_t>(half));
    if (std::isnan(value)) continue;
    const auto bits = std::bit_cast<uint32_t>(value);
    for (const uint32_t more : {0U, 1U, 0xfffU, 0x1000U, 0x1001U, 0x1fffU}) {
      const auto near = std::bit_cast<float>(bits + more);
      if (!std::isnan(near)) values.push_back(near);
    }
  }
  return values;
}

TEST(ConvertToF16Test, EveryInstructionSetRoundsAsTheFormatDoes) {
  const std::vector<float> values = AroundHalves();
  for (int64_t target = hwy::SupportedTargets(); target != 0; target &= target - 1) {
    const int64_t one = target & -target;
    SCOPED_TRACE(hwy::TargetName(one));
    hwy::SetSupportedTargetsForTest(one);
    hwy::GetChosenTarget().Update(one);
    std::vector<uint16_t> halves(values.size());
    ConvertToF16(values.data(), halves.data(), values.size());
    for (size_t i = 0; i < values.size(); ++i) {
      ASSERT_EQ(halves[i], F32ToF16(values[i])) << std::hexfloat << values[i];
    }
  }
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().Update(hwy::SupportedTargets());
}

TEST(ConvertToF16Test, NothingBeyondTheEndIsWritten) {
  const std::vector<float> values(19, 1.5F);
  std::vector<uint16_t> halves(20, 7);
  ConvertToF16(values.data(), halves.data(), values.size());
  EXPECT_EQ(halves[18], F32ToF16(1.5F));
  EXPECT_EQ(halves[19], 7);
  ConvertToF16(std::vector<float>{NAN}.data(), halves.data(), 1);
  EXPECT_TRUE(std::isnan(F16ToF32(halves[0])));
}

}  // namespace
}  // namespace choir::engine
