#include "engine/train/line_reader.h"

#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"

namespace choir::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::vector<LineReader::Line> LinesOf(const std::string& text, uint64_t max_line_bytes = 1 << 24) {
  const TempDir dir;
  const std::string path = dir.path() + "/lines";
  std::ofstream(path, std::ios::binary) << text;
  absl::StatusOr<LineReader> reader = LineReader::Open(path, max_line_bytes);
  EXPECT_TRUE(reader.ok()) << reader.status().ToString();
  std::vector<LineReader::Line> lines;
  LineReader::Line line;
  while (*reader->Next(line)) lines.push_back(line);
  return lines;
}

std::vector<std::string> TextsOf(const std::string& text) {
  std::vector<std::string> texts;
  for (const LineReader::Line& line : LinesOf(text)) texts.push_back(line.text);
  return texts;
}

TEST(LineReaderTest, LinesEndAtBreaksAndAtTheEnd) {
  EXPECT_THAT(TextsOf("a\n\nbc\r\nd"), ElementsAre("a", "", "bc\r", "d"));
  EXPECT_THAT(TextsOf("a\n"), ElementsAre("a"));
  EXPECT_THAT(TextsOf(""), ElementsAre());
  EXPECT_THAT(TextsOf("\xef\xbb\xbfx\ny"), ElementsAre("x", "y"));
  EXPECT_EQ(LinesOf("a\nb\nc")[2].number, 3u);
}

TEST(LineReaderTest, LinesMayCrossBuffers) {
  const std::string longer((size_t{1} << 20) * 2 + 5, 'x');
  const std::vector<std::string> texts = TextsOf(longer + "\n" + longer + "y\nz");
  ASSERT_EQ(texts.size(), 3u);
  EXPECT_TRUE(texts[0] == longer);
  EXPECT_TRUE(texts[1] == longer + "y");
  EXPECT_EQ(texts[2], "z");
}

TEST(LineReaderTest, ALineThatIsTooLongIsPassedOverWithoutKeepingIt) {
  const std::vector<LineReader::Line> lines = LinesOf(std::string(9000, 'x') + "\nok\n", 100);
  ASSERT_EQ(lines.size(), 2u);
  EXPECT_TRUE(lines[0].too_long);
  EXPECT_EQ(lines[0].bytes, 9000u);
  EXPECT_EQ(lines[0].text, "");
  EXPECT_FALSE(lines[1].too_long);
  EXPECT_EQ(lines[1].text, "ok");
}

TEST(LineReaderTest, AMissingFileIsNamed) {
  const absl::Status status = LineReader::Open("/nowhere/data.jsonl", 10).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(status.ToString(), HasSubstr("/nowhere/data.jsonl"));
}

}  // namespace
}  // namespace choir::engine
