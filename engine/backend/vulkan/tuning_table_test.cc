#include "engine/backend/vulkan/tuning_table.h"

#include <gtest/gtest.h>

namespace choir::engine::vulkan {
namespace {

constexpr Choice kHalf{ProductWay::kHalf, {8, 4}};

TEST(TuningTableTest, TextGivesTheSameTable) {
  TuningTable table;
  table.Set(ProductClass::Of("matmul_nt.q8_0", false, 512, 3072), kHalf);
  table.Set(ProductClass::Of("matmul_nt.q8_0", true, 512, 3072), {ProductWay::kPlain, {4, 8}});
  table.SetChecked("matmul_nt.q8_0", kHalf, Verdict::kRight);
  table.SetChecked("matvec.q8_0", {ProductWay::kDot, {1, 1}}, Verdict::kWrong);
  table.SetChecked("matmul_nn.q8_0", {ProductWay::kMatrix, {1, 1}}, Verdict::kTrying);
  const TuningTable read = TuningTable::FromText(table.ToText("v"), "v");
  EXPECT_EQ(read.ToText("v"), table.ToText("v"));
  EXPECT_EQ(read.Find(ProductClass::Of("matmul_nt.q8_0", false, 512, 3072)), kHalf);
  EXPECT_EQ(read.Find(ProductClass::Of("matmul_nt.q4_0", false, 512, 3072)), std::nullopt);
  EXPECT_EQ(read.Checked("matmul_nt.q8_0", kHalf), Verdict::kRight);
  EXPECT_EQ(read.Checked("matmul_nt.q4_0", kHalf), std::nullopt);
}

TEST(TuningTableTest, TextOfAnotherVersionIsAnEmptyTable) {
  TuningTable table;
  table.SetChecked("matmul_nt.q8_0", kHalf, Verdict::kRight);
  EXPECT_EQ(TuningTable::FromText(table.ToText("v"), "w").ToText("w"), "choir-tuning w\n");
  EXPECT_EQ(TuningTable::FromText("", "v").ToText("v"), "choir-tuning v\n");
  EXPECT_EQ(TuningTable::FromText("check s fp16 8 8 right\n", "v").ToText("v"), "choir-tuning v\n");
}

TEST(TuningTableTest, SizesUpToTheNextPowerOfTwoAreOneClass) {
  EXPECT_EQ(ProductClass::Of("s", true, 257, 1025), ProductClass::Of("s", true, 512, 2048));
  EXPECT_NE(ProductClass::Of("s", true, 256, 1025), ProductClass::Of("s", true, 257, 1025));
  EXPECT_NE(ProductClass::Of("s", true, 8, 8), ProductClass::Of("s", false, 8, 8));
  EXPECT_EQ(ProductClass::Of("s", true, int64_t{1} << 40, 1).rows, 1u << 31);
}

TEST(TuningTableTest, LinesThatAreNoEntryAreLeftOut) {
  const std::string good =
      "choir-tuning v\n"
      "choice matmul exact 64 64 f32 8 8\n"
      "check matmul fp16 8 8 right\n";
  const std::string read = good +
                           "\n"
                           "choice short exact 64 64 f32 8\n"
                           "choice long exact 64 64 f32 8 8 8\n"
                           "choice odd exact 63 64 f32 8 8\n"
                           "choice negative exact -64 64 f32 8 8\n"
                           "choice huge exact 64 64 f32 99999999999999999999 8\n"
                           "choice large exact 64 64 f32 65 8\n"
                           "choice none exact 64 64 f32 0 8\n"
                           "choice way exact 64 64 f17 8 8\n"
                           "choice perhaps maybe 64 64 f32 8 8\n"
                           "check verdict fp16 8 8 perhaps\n"
                           "check long fp16 8 8 right right\n"
                           "check short fp16 8\n"
                           "other matmul fp16 8 8 right\n"
                           "\xff\xfe\n"
                           "check " +
                           std::string(65, 'n') + " fp16 8 8 right\nchoice unfinished exact 64 64";
  EXPECT_EQ(TuningTable::FromText(read, "v").ToText("v"), good);
}

TEST(TuningTableTest, AFullTableStartsAfresh) {
  TuningTable table;
  for (size_t i = 0; i <= TuningTable::kMaxEntries; ++i) {
    table.Set(ProductClass::Of("s" + std::to_string(i), true, 1, 1), {ProductWay::kPlain, {4, 4}});
    table.SetChecked("s" + std::to_string(i), kHalf, Verdict::kRight);
  }
  EXPECT_EQ(table.ToText("v"),
            "choir-tuning v\nchoice s1024 exact 1 1 f32 4 4\ncheck s1024 fp16 8 4 right\n");
}

TEST(TuningTableTest, PeopleReadWhichWaysAreTakenAndWhichNever) {
  TuningTable table;
  table.Set(ProductClass::Of("matmul_nt.q8_0", true, 512, 512), {ProductWay::kPlain, {4, 4}});
  table.Set(ProductClass::Of("matmul_nt.q8_0", false, 512, 512), kHalf);
  table.Set(ProductClass::Of("matmul_nt.q8_0", false, 64, 512), {ProductWay::kPlain, {4, 4}});
  table.SetChecked("matmul_nt.q8_0", kHalf, Verdict::kRight);
  table.SetChecked("matmul_nt.q8_0", {ProductWay::kMatrix, {1, 1}}, Verdict::kWrong);
  EXPECT_EQ(table.Describe(),
            (std::vector<std::string>{
                "matmul_nt.q8_0: f32, fp16",
                "matmul_nt.q8_0: never matrix 1 1: the device does not get it right"}));
}

}  // namespace
}  // namespace choir::engine::vulkan
