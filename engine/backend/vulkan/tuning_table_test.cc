#include "engine/backend/vulkan/tuning_table.h"

#include <gtest/gtest.h>

namespace choir::engine::vulkan {
namespace {

TEST(TuningTableTest, TextGivesTheSameTable) {
  TuningTable table;
  table.Set(ProductClass::Of("matmul_nt.q8_0", 512, 3072), {8, 4});
  table.Set(ProductClass::Of("matmul_nn.f16", 1, 1), {4, 8});
  const TuningTable read = TuningTable::FromText(table.ToText());
  EXPECT_EQ(read.ToText(), table.ToText());
  EXPECT_EQ(read.Find(ProductClass::Of("matmul_nt.q8_0", 512, 3072)), (Block{8, 4}));
  EXPECT_EQ(read.Find(ProductClass::Of("matmul_nt.q4_0", 512, 3072)), std::nullopt);
}

TEST(TuningTableTest, SizesUpToTheNextPowerOfTwoAreOneClass) {
  EXPECT_EQ(ProductClass::Of("s", 257, 1025), ProductClass::Of("s", 512, 2048));
  EXPECT_NE(ProductClass::Of("s", 256, 1025), ProductClass::Of("s", 257, 1025));
  EXPECT_EQ(ProductClass::Of("s", int64_t{1} << 40, 1).rows, 1u << 31);
}

TEST(TuningTableTest, LinesThatAreNoEntryAreLeftOut) {
  const TuningTable read = TuningTable::FromText(
      "matmul 64 64 8 8\n"
      "\n"
      "short 64 64 8\n"
      "long 64 64 8 8 8\n"
      "odd 63 64 8 8\n"
      "negative -64 64 8 8\n"
      "huge 64 64 99999999999999999999 8\n"
      "large 64 64 65 8\n"
      "none 64 64 0 8\n"
      "\xff\xfe\n" +
      std::string(65, 'n') + " 64 64 8 8\nunfinished 64 64 4");
  EXPECT_EQ(read.ToText(), "matmul 64 64 8 8\n");
}

TEST(TuningTableTest, AFullTableStartsAfresh) {
  TuningTable table;
  for (size_t i = 0; i <= TuningTable::kMaxEntries; ++i) {
    table.Set(ProductClass::Of("s" + std::to_string(i), 1, 1), {4, 4});
  }
  EXPECT_EQ(table.ToText(), "s1024 1 1 4 4\n");
}

}  // namespace
}  // namespace choir::engine::vulkan
