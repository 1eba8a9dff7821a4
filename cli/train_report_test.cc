#include "cli/train_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace choir::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TrainReport SomeReport() {
  TrainReport report;
  report.output = "mine.gguf";
  report.metrics.steps = 30;
  report.took = absl::Seconds(2);
  report.new_tokens = 1000;
  HeldOutReport held_out;
  held_out.record.Add(0, 4.0);
  held_out.record.Add(10, 2.0);
  held_out.record.Add(20, 2.5);
  held_out.record.Add(30, 3.0);
  held_out.stopped_early = true;
  held_out.patience = 2;
  report.held_out = held_out;
  return report;
}

TEST(TrainReportTest, SaysFirstBestLastAndWhatWasKept) {
  const std::string text = DescribeReport(SomeReport());
  EXPECT_THAT(text, HasSubstr("held-out loss 4.0000 at the start, best 2.0000 after step 10, last "
                              "3.0000 after step 30"));
  EXPECT_THAT(text, HasSubstr("stopped early: 2 measurements in a row"));
  EXPECT_THAT(text, HasSubstr("the result is the adapter after step 10"));
  const nlohmann::json json = ReportToJson(SomeReport());
  EXPECT_EQ(json["held_out"]["best"]["step"], 10);
  EXPECT_EQ(json["held_out"]["kept_step"], 10);
  EXPECT_EQ(json["held_out"]["stopped_early"], true);
  EXPECT_EQ(json["tokens_per_second"], 500.0);
}

TEST(TrainReportTest, KeepLastKeepsTheLast) {
  TrainReport report = SomeReport();
  report.held_out->kept_best = false;
  report.held_out->stopped_early = false;
  EXPECT_THAT(DescribeReport(report), HasSubstr("the adapter after step 30, the last"));
  EXPECT_THAT(DescribeReport(report), Not(HasSubstr("stopped early")));
  EXPECT_EQ(ReportToJson(report)["held_out"]["kept_step"], 30);
}

TEST(TrainReportTest, WithoutHeldOutDataThereIsNothingAboutIt) {
  TrainReport report = SomeReport();
  report.held_out.reset();
  EXPECT_THAT(DescribeReport(report), Not(HasSubstr("held-out")));
  EXPECT_FALSE(ReportToJson(report).contains("held_out"));
}

}  // namespace
}  // namespace choir::cli
