#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cli/application.h"
#include "cli/command.h"
#include "cli/failure.h"
#include "cli/humane.h"
#include "cli/output.h"
#include "cli/progress.h"

namespace choir::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

class FakeClock final : public Clock {
 public:
  [[nodiscard]] absl::Time Now() const override { return now; }
  absl::Time now = absl::UnixEpoch();
};

// A FILE* whose text can be read back.
class CapturedStream {
 public:
  CapturedStream() : stream_(::open_memstream(&text_, &size_)) {}
  ~CapturedStream() {
    std::fclose(stream_);
    std::free(text_);
  }
  CapturedStream(const CapturedStream&) = delete;
  CapturedStream& operator=(const CapturedStream&) = delete;
  [[nodiscard]] std::FILE* file() const { return stream_; }
  [[nodiscard]] std::string text() const {
    std::fflush(stream_);
    return {text_, size_};
  }

 private:
  char* text_ = nullptr;
  size_t size_ = 0;
  std::FILE* stream_;
};

Action DeclareSing(CLI::App& app) {
  auto voices = std::make_shared<int>(1);
  app.add_option("--voices", *voices,
                 "How many people sing at the same time, each of them a part of their own, from "
                 "bass to soprano")
      ->check(CLI::Range(1, 8));
  app.footer("Examples:\n  choir sing --voices 4\n");
  return [voices](Environment& environment) {
    environment.output.Note("warming up");
    environment.output.Line(fmt::format("{} voices", *voices));
    environment.output.Json({{"voices", *voices}});
    return absl::OkStatus();
  };
}

Action DeclareFail(CLI::App& /*app*/) {
  return [](Environment& /*environment*/) {
    return BadInput("model", "a.gguf", absl::NotFoundError("no such file"), "check the path");
  };
}

constexpr Command kSing = {"sing", "Sing a song", &DeclareSing};
constexpr Command kFail = {"score fail", "Fail", &DeclareFail};
constexpr const Command* kCommands[] = {&kSing, &kFail};
constexpr CommandGroup kGroups[] = {{"score", "Sheet music"}};

struct RunResult {
  int exit_code = 0;
  std::string out;
  std::string err;
};

RunResult RunWith(std::vector<std::string> arguments) {
  CapturedStream out;
  CapturedStream err;
  FakeClock clock;
  Output output(out.file(), err.file(), Terminal{}, Terminal{});
  Environment environment{output, clock};
  const int code = RunApplication(std::move(arguments), kCommands, kGroups, environment);
  return {code, out.text(), err.text()};
}

TEST(ApplicationTest, ResultGoesToStdoutAndTheRestToStderr) {
  const RunResult run = RunWith({"sing", "--voices", "4"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_EQ(run.out, "4 voices\n");
  EXPECT_EQ(run.err, "warming up\n");
}

TEST(ApplicationTest, JsonReplacesTheTextOfTheResult) {
  const RunResult run = RunWith({"sing", "--json", "--quiet"});
  EXPECT_EQ(run.out, "{\"voices\":1}\n");
  EXPECT_EQ(run.err, "");
}

TEST(ApplicationTest, WrongValueIsUsageAndNamesTheHelp) {
  const RunResult run = RunWith({"sing", "--voices", "9"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, StartsWith("choir: error: --voices: "));
  EXPECT_THAT(run.err, HasSubstr("choir: hint: `choir sing --help`"));
}

TEST(ApplicationTest, UnknownCommandGetsASuggestion) {
  const RunResult run = RunWith({"song"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_EQ(run.err,
            "choir: error: there is no command `choir song`\n"
            "choir: hint: did you mean `choir sing`?\n");
}

TEST(ApplicationTest, UnknownWordInAGroupIsReportedWithItsPath) {
  const RunResult run = RunWith({"score", "print"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("there is no command `choir score print`"));
}

TEST(ApplicationTest, GroupWithoutCommandShowsItsHelp) {
  const RunResult run = RunWith({"score"});
  EXPECT_EQ(run.exit_code, 2);
  EXPECT_THAT(run.err, HasSubstr("fail"));
  EXPECT_EQ(run.out, "");
}

TEST(ApplicationTest, HelpShowsExamplesAndExitCodes) {
  const RunResult run = RunWith({"sing", "--help"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, HasSubstr("choir sing --voices 4"));
  EXPECT_THAT(run.out, HasSubstr("Exit codes: 0 done"));
  EXPECT_THAT(run.out, HasSubstr("--json"));
}

TEST(ApplicationTest, HelpFitsOneHundredColumns) {
  const RunResult run = RunWith({"sing", "--help"});
  size_t begin = 0;
  while (begin < run.out.size()) {
    const size_t end = std::min(run.out.find('\n', begin), run.out.size());
    EXPECT_LE(end - begin, 100u) << run.out.substr(begin, end - begin);
    begin = end + 1;
  }
  EXPECT_EQ(run.out.find("\n\n\n"), std::string::npos);
}

TEST(ApplicationTest, VersionIsPrinted) {
  const RunResult run = RunWith({"--version"});
  EXPECT_EQ(run.exit_code, 0);
  EXPECT_THAT(run.out, StartsWith("choir "));
}

TEST(ApplicationTest, FailureOfACommandHasMessageHintAndCode) {
  const RunResult run = RunWith({"score", "fail", "--json"});
  EXPECT_EQ(run.exit_code, 3);
  EXPECT_EQ(run.err,
            "choir: error: model a.gguf: no such file\n"
            "choir: hint: check the path\n");
  EXPECT_EQ(run.out,
            "{\"error\":{\"exit_code\":3,\"hint\":\"check the path\","
            "\"message\":\"model a.gguf: no such file\"}}\n");
}

TEST(FailureTest, UserAndDeviceAreNotBlamedOnTheFile) {
  EXPECT_EQ(ExitCodeOf(BadInput("model", "a.gguf", absl::CancelledError("stopped"))),
            ExitCode::kInterrupted);
  EXPECT_EQ(ExitCodeOf(BadInput("model", "a.gguf", absl::UnavailableError("device lost"))),
            ExitCode::kUnavailable);
  EXPECT_EQ(ExitCodeOf(BadInput("model", "a.gguf", absl::DataLossError("cut off"))),
            ExitCode::kBadInput);
}

TEST(FailureTest, PathIsNotRepeated) {
  EXPECT_EQ(BadInput("model", "a.gguf", absl::NotFoundError("cannot open a.gguf")).message(),
            "model: cannot open a.gguf");
}

TEST(FailureTest, MessageCannotDriveTheTerminal) {
  EXPECT_EQ(MessageOf(absl::DataLossError("tensor \x1b[2Jx\nline")), "tensor ?[2Jx; line");
}

TEST(HumaneTest, Bytes) {
  EXPECT_EQ(HumaneBytes(0), "0 B");
  EXPECT_EQ(HumaneBytes(1023), "1023 B");
  EXPECT_EQ(HumaneBytes(1536), "1.5 KiB");
  EXPECT_EQ(HumaneBytes((uint64_t{1} << 20) - 1), "1.0 MiB");
}

TEST(HumaneTest, BytesAreReadAsTheyAreWritten) {
  EXPECT_EQ(ParseBytes("4096"), 4096u);
  EXPECT_EQ(ParseBytes("800MiB"), uint64_t{800} << 20);
  EXPECT_EQ(ParseBytes("1.5 GiB"), uint64_t{3} << 29);
  EXPECT_EQ(ParseBytes("2g"), uint64_t{2} << 30);
  for (const char* text : {"", "GiB", "-1", "1.5 bananas", "1xb", "nan", "20000000 TiB"}) {
    EXPECT_EQ(ParseBytes(text), std::nullopt) << text;
  }
}

TEST(HumaneTest, Durations) {
  EXPECT_EQ(HumaneDuration(absl::Milliseconds(440)), "0.4 s");
  EXPECT_EQ(HumaneDuration(absl::Milliseconds(9960)), "10 s");
  EXPECT_EQ(HumaneDuration(absl::Seconds(59)), "59 s");
  EXPECT_EQ(HumaneDuration(absl::Seconds(65)), "1:05");
  EXPECT_EQ(HumaneDuration(absl::Seconds(7384)), "2:03:04");
  EXPECT_EQ(HumaneDuration(absl::InfiniteDuration()), "?");
}

TEST(HumaneTest, Counts) {
  EXPECT_EQ(HumaneCount(0), "0");
  EXPECT_EQ(HumaneCount(999), "999");
  EXPECT_EQ(HumaneCount(-1234567), "-1,234,567");
  EXPECT_EQ(HumaneRate(1240.4), "1,240");
  EXPECT_EQ(HumaneRate(0.5126), "0.513");
}

TEST(TextTableTest, IdsAndDatesAlignLeftWhateverTheyBeginWith) {
  TextTable table({"node", "seen", "part", "loss"});
  table.AddRow({"1278a9e05b60", "2026-11-21 07:22", "1/4", "1e-05"});
  table.AddRow({"24d0391adaec", "2026-11-21", "10/40", "+0.25"});
  EXPECT_EQ(table.Render(),
            "node          seen               part   loss\n"
            "1278a9e05b60  2026-11-21 07:22    1/4  1e-05\n"
            "24d0391adaec  2026-11-21        10/40  +0.25");
}

TEST(TextTableTest, NumbersAlignRightAndNothingTrails) {
  TextTable table({"name", "tokens"});
  table.AddRow({"a", "12"});
  table.AddRow({"böb", "1,234"});
  EXPECT_EQ(table.Render(), "name  tokens\na         12\nböb    1,234");
}

TEST(ProgressTest, LineHasBarCountsDetailAndEta) {
  ProgressView view{"train", 5, 20, "loss 1.83", absl::Seconds(75)};
  EXPECT_EQ(RenderProgress(view, 79, BarStyle::kAscii),
            "train  ######------------------  5/20  loss 1.83  ETA 1:15");
  EXPECT_EQ(RenderProgress(view, 79, BarStyle::kNone), "train  5/20  loss 1.83  ETA 1:15");
}

TEST(ProgressTest, NeverWiderThanTheTerminal) {
  ProgressView view{"train", 5, 20, std::string(200, 'x'), absl::Seconds(75)};
  for (const int columns : {1, 7, 20, 79}) {
    EXPECT_LE(DisplayWidth(RenderProgress(view, columns, BarStyle::kUnicode)),
              static_cast<size_t>(columns));
  }
}

TEST(ProgressTest, RateFollowsTheLastSeconds) {
  RateMeter meter(absl::Seconds(10));
  absl::Time now = absl::UnixEpoch();
  meter.Record(now, 0);
  EXPECT_EQ(meter.Remaining(100), absl::InfiniteDuration());
  for (int i = 1; i <= 20; ++i) meter.Record(now += absl::Seconds(1), i);
  EXPECT_DOUBLE_EQ(meter.Rate(), 1.0);
  for (int i = 1; i <= 20; ++i) meter.Record(now += absl::Seconds(1), 20 + 2 * i);
  EXPECT_DOUBLE_EQ(meter.Rate(), 2.0);
  EXPECT_EQ(meter.Remaining(80), absl::Seconds(10));
}

TEST(ProgressTest, WithoutTerminalPlainLinesComeSeldom) {
  CapturedStream out;
  CapturedStream err;
  FakeClock clock;
  Output output(out.file(), err.file(), Terminal{}, Terminal{});
  ProgressBar bar(output, clock, "train", 100);
  for (int i = 1; i <= 100; ++i) {
    clock.now += absl::Milliseconds(300);
    bar.Update(i, "");
  }
  bar.Finish();
  const std::string text = err.text();
  EXPECT_EQ(text.find('\r'), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'),
            4);  // at 0.3, 10.5 and 20.7 s, and the last
  EXPECT_THAT(text, HasSubstr("train  100/100\n"));
}

TEST(ProgressTest, OnATerminalTheBarGivesWayToWords) {
  CapturedStream out;
  CapturedStream err;
  FakeClock clock;
  Terminal terminal;
  terminal.is_terminal = true;
  Output output(out.file(), err.file(), Terminal{}, terminal);
  ProgressBar bar(output, clock, "train", 10);
  bar.Update(1, "");
  output.Note("saved");
  bar.Finish();
  EXPECT_THAT(err.text(), HasSubstr("\r\x1b[Ksaved\n"));
}

}  // namespace
}  // namespace choir::cli
