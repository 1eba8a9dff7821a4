#include "engine/train/dataset.h"

#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace choir::engine {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

void WriteFileAt(const std::string& path, const std::string& text) {
  std::filesystem::create_directories(std::filesystem::path(path).parent_path());
  std::ofstream(path, std::ios::binary) << text;
}

TEST(ParseExampleTest, TheThreeFormsAreRead) {
  const absl::StatusOr<Example> text = ParseExample(R"({"text": "hello", "id": 3})");
  ASSERT_TRUE(text.ok());
  EXPECT_EQ(text->form, Example::Form::kText);
  EXPECT_EQ(text->text, "hello");
  const absl::StatusOr<Example> pair =
      ParseExample(R"({"prompt": "", "completion": "b", "text": "whole"})");
  ASSERT_TRUE(pair.ok());
  EXPECT_EQ(pair->form, Example::Form::kPromptCompletion);
  EXPECT_EQ(pair->completion, "b");
  EXPECT_EQ(pair->text, "whole");
  const absl::StatusOr<Example> chat = ParseExample(
      R"({"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]})");
  ASSERT_TRUE(chat.ok());
  EXPECT_EQ(chat->form, Example::Form::kMessages);
  EXPECT_EQ(chat->messages[1].role, "assistant");
}

TEST(ParseExampleTest, BadLinesAreInvalidAndNotQuoted) {
  const std::string lines[] = {
      "",
      "secret",
      "[1]",
      "{\"text\": \"secret",
      R"({"text": 7})",
      R"({"text": ""})",
      R"({"prompt": "secret"})",
      R"({"completion": "secret"})",
      R"({"prompt": "secret", "completion": ""})",
      R"({"messages": []})",
      R"({"messages": "secret"})",
      R"({"messages": [{"role": "user"}]})",
      R"({"messages": [{"role": "", "content": "secret"}]})",
      R"({"messages": [["secret"]]})",
      R"({"other": "secret"})",
      "{\"text\": \"secret\xff\"}",
      R"({"text": "secret"} {"text": "more"})",
  };
  for (const std::string& line : lines) {
    const absl::Status status = ParseExample(line).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << line;
    EXPECT_THAT(status.ToString(), Not(HasSubstr("secret"))) << line;
  }
}

TEST(ParseExampleTest, DeepNestingIsRefusedWithoutBuildingIt) {
  const std::string deep =
      "{\"text\": \"x\", \"y\": " + std::string(1 << 20, '[') + std::string(1 << 20, ']') + "}";
  EXPECT_EQ(ParseExample(deep).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(ParseExample(R"({"text": "x", "y": [[[{"z": []}]]]})").ok());
}

TEST(ReadExamplesTest, AFolderIsReadByPathWithItsTextFiles) {
  const TempDir dir;
  WriteFileAt(dir.path() + "/b/notes.md", "# Notes\n");
  WriteFileAt(dir.path() + "/a.jsonl", "{\"text\": \"one\"}\r\n\n{\"text\": \"two\"}");
  WriteFileAt(dir.path() + "/c.txt", "\xef\xbb\xbfplain");
  WriteFileAt(dir.path() + "/ignored.csv", "x");
  WriteFileAt(dir.path() + "/.hidden/x.txt", "x");
  DatasetReport report;
  const auto examples = ReadExamples(dir.path(), {}, &report);
  ASSERT_TRUE(examples.ok()) << examples.status().ToString();
  ASSERT_EQ(examples->size(), 4u);
  EXPECT_EQ((*examples)[0].text, "one");
  EXPECT_EQ((*examples)[1].text, "two");
  EXPECT_EQ((*examples)[2].text, "# Notes\n");
  EXPECT_EQ((*examples)[3].text, "plain");
  EXPECT_EQ(report.files, 3u);
}

TEST(ReadExamplesTest, BadLineIsAnErrorWithFileAndLine) {
  const TempDir dir;
  const std::string path = dir.path() + "/d.jsonl";
  WriteFileAt(path, "{\"text\": \"one\"}\n\nnot json\n");
  EXPECT_THAT(ReadExamples(path).status().ToString(), HasSubstr(path + ":3: "));
}

TEST(ReadExamplesTest, BadLinesAreSkippedAndReportedIfAsked) {
  const TempDir dir;
  const std::string path = dir.path() + "/d.jsonl";
  std::string text = "{\"text\": \"one\"}\n";
  for (int i = 0; i < 150; ++i) text += "{}\n";
  WriteFileAt(path, text);
  DatasetReport report;
  const auto examples = ReadExamples(path, {.skip_bad_lines = true}, &report);
  ASSERT_TRUE(examples.ok());
  EXPECT_EQ(examples->size(), 1u);
  EXPECT_EQ(report.bad_lines, 150u);
  EXPECT_EQ(report.first_bad_lines.size(), 100u);
  EXPECT_EQ(report.first_bad_lines[0].file, path);
  EXPECT_EQ(report.first_bad_lines[0].line, 2u);
  EXPECT_EQ(report.bad_lines_by_file.at(path), 150u);
}

TEST(ReadExamplesTest, FilesThatAreNoDataAreNamed) {
  const TempDir dir;
  WriteFileAt(dir.path() + "/a.txt", "words");
  WriteFileAt(dir.path() + "/b.pdf", "%PDF");
  WriteFileAt(dir.path() + "/.hidden", "x");
  DatasetReport report;
  ASSERT_TRUE(ReadExamples(dir.path(), {}, &report).ok());
  EXPECT_EQ(report.other_files, 1u);
  EXPECT_EQ(report.first_other_files, std::vector<std::string>{dir.path() + "/b.pdf"});
}

TEST(ReadExamplesTest, LimitsAreKept) {
  const TempDir dir;
  WriteFileAt(dir.path() + "/a.jsonl", "{\"text\": \"one\"}\n{\"text\": \"two\"}\n");
  WriteFileAt(dir.path() + "/b.txt", "three");
  EXPECT_EQ(ReadExamples(dir.path(), {.max_examples = 2}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReadExamples(dir.path(), {.max_bytes = 34}).status().code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReadExamples(dir.path(), {.max_line_bytes = 10}).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(ReadExamples(dir.path(), {.max_bytes = 37, .max_examples = 3}).ok());
}

TEST(ReadExamplesTest, NothingToReadIsAnError) {
  const TempDir dir;
  EXPECT_EQ(ReadExamples(dir.path()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ReadExamples(dir.path() + "/none").status().code(), absl::StatusCode::kNotFound);
  WriteFileAt(dir.path() + "/data.csv", "x");
  EXPECT_THAT(ReadExamples(dir.path() + "/data.csv").status().ToString(), HasSubstr(".jsonl"));
  WriteFileAt(dir.path() + "/empty.jsonl", "\n \n");
  EXPECT_EQ(ReadExamples(dir.path()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(ReadExamplesTest, EveryStoredDataSetIsRead) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  DatasetReport report;
  const auto examples = ReadExamples(data + "/datasets", {}, &report);
  ASSERT_TRUE(examples.ok()) << examples.status().ToString();
  EXPECT_EQ(report.bad_lines, 0u);
  EXPECT_GT(report.examples, 3000u);
}

}  // namespace
}  // namespace choir::engine
