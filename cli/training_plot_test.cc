#include <cmath>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/training_curve.h"

namespace choir::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TrainingCurve SomeCurve(int steps) {
  TrainingCurve curve;
  for (int step = 1; step <= steps; ++step) {
    curve.steps.push_back({step, 2.0 + std::exp(-step / 50.0) + 0.1 * (step % 3), 1e-3});
  }
  return curve;
}

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(SmoothLossesTest, AConstantLossStaysAndNoiseShrinks) {
  for (const double loss : SmoothLosses({{1, 3.0, 0}, {2, 3.0, 0}, {3, 3.0, 0}}, 10)) {
    EXPECT_DOUBLE_EQ(loss, 3.0);
  }
  std::vector<TrainingCurve::Step> noise;
  for (int step = 1; step <= 100; ++step) noise.push_back({step, step % 2 == 0 ? 1.0 : 3.0, 0});
  EXPECT_NEAR(SmoothLosses(noise, 20).back(), 2.0, 0.11);
  EXPECT_EQ(SmoothLosses(noise, 1).back(), 1.0);
}

TEST(TrainingPlotTest, HasAxesLabelsCurvesAndTheBestPoint) {
  TrainingCurve curve = SomeCurve(200);
  curve.held_out = {{0, 3.5, true}, {100, 2.5, true}, {200, 2.75, false}};
  const std::string svg = RenderTrainingPlot(curve, "choir train: a<b>&\x01.gguf");
  EXPECT_THAT(svg, HasSubstr("optimizer step"));
  EXPECT_THAT(svg, HasSubstr("loss (nats a token)"));
  EXPECT_THAT(svg, HasSubstr("learning rate"));
  EXPECT_THAT(svg, HasSubstr("held-out loss, best 2.5000 at step 100"));
  EXPECT_THAT(svg, HasSubstr("a&lt;b&gt;&amp;?.gguf"));
  EXPECT_EQ(Count(svg, "<polyline"), 3u + 4u);  // legend and curves
  EXPECT_THAT(svg, Not(HasSubstr("nan")));
}

TEST(TrainingPlotTest, ALongRunMakesNoLargerPicture) {
  const size_t thousand = RenderTrainingPlot(SomeCurve(1000), "t").size();
  const size_t many = RenderTrainingPlot(SomeCurve(100000), "t").size();
  EXPECT_LT(many, thousand * 11 / 10);
}

TEST(TrainingPlotTest, OneStepOrNoneIsStillAPicture) {
  for (const int steps : {0, 1}) {
    const std::string svg = RenderTrainingPlot(SomeCurve(steps), "t");
    EXPECT_THAT(svg, HasSubstr("</svg>"));
    EXPECT_THAT(svg, Not(HasSubstr("nan")));
    EXPECT_THAT(svg, Not(HasSubstr("inf")));
  }
}

TEST(TrainingPlotTest, HugeAndTinyNumbersEnd) {
  TrainingCurve curve;
  curve.steps = {{1, 1e16, 1e-300}, {int64_t{1} << 53, 1e16 + 2, 1e300}};
  EXPECT_THAT(RenderTrainingPlot(curve, "t"), HasSubstr("</svg>"));
}

}  // namespace
}  // namespace choir::cli
