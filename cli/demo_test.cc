#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "cli/demo_data.h"
#include "cli/demo_folder.h"
#include "cli/demo_process.h"
#include "cli/demo_view.h"
#include "cli/humane.h"
#include "tests/support/temp_dir.h"

namespace choir::cli {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string In(const TempDir& dir, const std::string& name) {
  return dir.path() + "/" + name;
}

Records Numbered(const std::string& word, int count) {
  Records records;
  for (int i = 0; i < count; ++i) records.push_back(word + std::to_string(i));
  return records;
}

TEST(DealTextsTest, AsManySourcesAsNodesKeepTheirNames) {
  const auto nodes =
      DealTexts({{"ada", {"a0"}, {"a1"}}, {"bo", {"b0"}, {"b1"}}, {"cy", {"c0"}, {"c1"}}}, 3);
  ASSERT_TRUE(nodes.ok()) << nodes.status();
  ASSERT_THAT(*nodes, SizeIs(3));
  EXPECT_EQ((*nodes)[1].name, "bo");
  EXPECT_THAT((*nodes)[1].train, ElementsAre("b0"));
  EXPECT_THAT((*nodes)[1].held_out, ElementsAre("b1"));
}

TEST(DealTextsTest, MoreSourcesThanNodesAreDealtWholeInTurn) {
  std::vector<DemoTexts> sources;
  for (int i = 0; i < 7; ++i) sources.push_back({"s", Numbered(std::to_string(i) + "-", 2), {}});
  const auto nodes = DealTexts(std::move(sources), 3);
  ASSERT_TRUE(nodes.ok()) << nodes.status();
  EXPECT_EQ((*nodes)[0].name, "node-1");
  EXPECT_EQ((*nodes)[0].train.size() + (*nodes)[0].held_out.size(), 6u);  // sources 0, 3 and 6
  EXPECT_EQ((*nodes)[2].train.size() + (*nodes)[2].held_out.size(), 4u);
}

TEST(DealTextsTest, OneSourceIsCutIntoStretchesThatShareNothing) {
  const auto nodes = DealTexts({{"all", Numbered("r", 31), {}}}, 4);
  ASSERT_TRUE(nodes.ok()) << nodes.status();
  Records seen;
  for (const DemoTexts& node : *nodes) {
    EXPECT_FALSE(node.held_out.empty());
    seen.insert(seen.end(), node.train.begin(), node.train.end());
    seen.insert(seen.end(), node.held_out.begin(), node.held_out.end());
  }
  EXPECT_THAT(seen, testing::UnorderedElementsAreArray(Numbered("r", 31)));
}

TEST(DealTextsTest, ANodeWithoutTextsIsAnError) {
  const auto nodes = DealTexts({{"all", Numbered("r", 5), {}}}, 4);
  EXPECT_EQ(nodes.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(nodes.status().message()), HasSubstr("1 records"));
}

TEST(DealTextsTest, NamesAreFitForFoldersAndDiffer) {
  const auto nodes =
      DealTexts({{"../a b", {"1"}, {"2"}}, {"---a-b", {"1"}, {"2"}}, {"é", {"1"}, {"2"}}}, 3);
  ASSERT_TRUE(nodes.ok()) << nodes.status();
  EXPECT_EQ((*nodes)[0].name, "---a-b");
  EXPECT_EQ((*nodes)[1].name, "---a-b-2");
  EXPECT_EQ((*nodes)[2].name, "--");
}

TEST(HoldOutTest, KeepsEveryTenthBackAndAtLeastOne) {
  DemoTexts many{"n", Numbered("r", 20), {}};
  ASSERT_TRUE(HoldOut(many).ok());
  EXPECT_THAT(many.held_out, ElementsAre("r9", "r19"));
  EXPECT_THAT(many.train, SizeIs(18));
  DemoTexts few{"n", {"a", "b"}, {}};
  ASSERT_TRUE(HoldOut(few).ok());
  EXPECT_THAT(few.train, ElementsAre("a"));
  EXPECT_THAT(few.held_out, ElementsAre("b"));
  DemoTexts large{"n", Numbered("r", 1000), {}};
  ASSERT_TRUE(HoldOut(large).ok());
  EXPECT_THAT(large.held_out, SizeIs(40));
}

TEST(PromptOfTest, FirstSentenceOrPrompt) {
  EXPECT_EQ(
      PromptOf(R"({"text":"Watch report, two o'clock. All quiet at the gate. Signed, Bram."})"),
      "Watch report, two o'clock. All quiet at the gate.");
  EXPECT_EQ(PromptOf(R"({"prompt":"Who goes there?","completion":"I"})"), "Who goes there?");
  EXPECT_EQ(PromptOf(R"({"text":"no stop"})"), "no stop");
  EXPECT_LE(PromptOf(R"({"text":")" + std::string(500, 'x') + R"("})").size(), 500u);
  EXPECT_EQ(PromptOf(R"({"text":7})"), "");
  EXPECT_EQ(PromptOf("no json"), "");
}

TEST(ReadDemoSourcesTest, SubFoldersAreSourcesAndTestFilesAreHeldOut) {
  const TempDir dir;
  ASSERT_TRUE(MakeDirectories(In(dir, "ada")).ok());
  ASSERT_TRUE(
      AtomicWriteFile(In(dir, "ada/train.jsonl"), "{\"text\":\"1\"}\r\n\n{\"text\":\"2\"}").ok());
  ASSERT_TRUE(AtomicWriteFile(In(dir, "ada/test.jsonl"), "{\"text\":\"3\"}\n").ok());
  ASSERT_TRUE(AtomicWriteFile(In(dir, "ada/notes.md"), "One.\n\n\nTwo\nlines.\n").ok());
  const auto sources = ReadDemoSources(dir.path());
  ASSERT_TRUE(sources.ok()) << sources.status();
  ASSERT_THAT(*sources, SizeIs(1));
  EXPECT_EQ((*sources)[0].name, "ada");
  EXPECT_THAT((*sources)[0].train,
              ElementsAre(R"({"text":"One."})", R"({"text":"\nTwo\nlines.\n"})", R"({"text":"1"})",
                          R"({"text":"2"})"));
  EXPECT_THAT((*sources)[0].held_out, ElementsAre(R"({"text":"3"})"));
}

TEST(ReadDemoSourcesTest, FilesOfOneNameBelongTogether) {
  const TempDir dir;
  for (const char* name : {"bo.train.jsonl", "bo.test.jsonl", "cy.jsonl"}) {
    ASSERT_TRUE(AtomicWriteFile(In(dir, name), "{\"text\":\"x\"}\n").ok());
  }
  const auto sources = ReadDemoSources(dir.path());
  ASSERT_TRUE(sources.ok()) << sources.status();
  ASSERT_THAT(*sources, SizeIs(2));
  EXPECT_EQ((*sources)[0].name, "bo");
  EXPECT_THAT((*sources)[0].held_out, SizeIs(1));
  EXPECT_EQ((*sources)[1].name, "cy");
}

TEST(ReadDemoSourcesTest, NothingThereIsNotFound) {
  const TempDir dir;
  EXPECT_EQ(ReadDemoSources(dir.path()).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(ReadDemoSources(In(dir, "absent")).status().code(), absl::StatusCode::kNotFound);
}

DemoView TwoNodes() {
  return {.activity = "round 2: training, 1 at work, 1 ready",
          .rounds_published = 1,
          .rounds = 3,
          .elapsed = absl::Seconds(12),
          .nodes = {{"night-watch", "training", 9, 30, 3.25}, {"ada", "waiting", 30, 30, 2.5}}};
}

TEST(RenderDemoTest, ColumnsStandUnderEachOther) {
  const auto lines = RenderDemo(TwoNodes(), 79, BarStyle::kAscii);
  ASSERT_THAT(lines, SizeIs(3));
  EXPECT_EQ(lines[0], "round 2: training, 1 at work, 1 ready  (1 of 3 rounds done, 12 s)");
  EXPECT_EQ(lines[1], "  night-watch  training     #######-----------------  9/30   loss 3.250");
  EXPECT_EQ(lines[2], "  ada          waiting      ########################  30/30  loss 2.500");
}

TEST(RenderDemoTest, NoLineIsWiderThanTheTerminal) {
  for (const int columns : {10, 25, 40, 60}) {
    for (const std::string& line : RenderDemo(TwoNodes(), columns, BarStyle::kUnicode)) {
      EXPECT_LE(DisplayWidth(line), static_cast<size_t>(columns)) << line;
    }
  }
}

TEST(RenderDemoTest, ANodeWithoutWorkHasNoBar) {
  DemoView view = TwoNodes();
  view.nodes[1] = {"ada", "idle", 0, 0, 0};
  EXPECT_EQ(RenderDemo(view, 79, BarStyle::kAscii)[2], "  ada          idle");
}

TEST(SummariseDemoTest, IsOneLineWithTheNodesThatTrain) {
  EXPECT_EQ(SummariseDemo(TwoNodes()),
            " 12 s  round 2: training, 1 at work, 1 ready; night-watch 9/30 loss 3.250");
}

TEST(HangingParagraphTest, BreaksBetweenWordsUnderTheText) {
  EXPECT_EQ(HangingParagraph("a  ", "one\ntwo  three", 10), "a  one two\n   three");
  EXPECT_EQ(HangingParagraph("a  ", "éé éé éé", 8), "a  éé éé\n   éé");
  EXPECT_EQ(HangingParagraph("a  ", "wider-than-all", 8), "a  wider-than-all");
  EXPECT_EQ(HangingParagraph("a  ", "", 8), "a  ");
}

TEST(DemoFolderTest, TemporaryOnesGoAndKeptOnesStay) {
  std::string temporary;
  {
    const auto folder = DemoFolder::Make("");
    ASSERT_TRUE(folder.ok()) << folder.status();
    temporary = folder->path();
    EXPECT_TRUE(std::filesystem::exists(temporary));
  }
  EXPECT_FALSE(std::filesystem::exists(temporary));
  const TempDir dir;
  ASSERT_TRUE(DemoFolder::Make(In(dir, "new/one")).ok());
  EXPECT_TRUE(std::filesystem::exists(In(dir, "new/one")));
  EXPECT_EQ(DemoFolder::Make(dir.path()).status().code(), absl::StatusCode::kAlreadyExists);
}

TEST(ChildProcessTest, AProgramThatIsNotThereIsNotFound) {
  const TempDir dir;
  EXPECT_EQ(ChildProcess::Start(In(dir, "none"), {}, In(dir, "log")).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(ChildProcessTest, ItsEndIsReportedWithItsLastWords) {
  const TempDir dir;
  auto child = ChildProcess::Start("/bin/sh", {"-c", "echo first; echo no such port >&2; exit 3"},
                                   In(dir, "log"));
  ASSERT_TRUE(child.ok()) << child.status();
  absl::Status status;
  while (status.ok()) status = child->CheckRunning();
  EXPECT_THAT(std::string(status.message()), HasSubstr("ended with exit code 3: no such port"));
}

TEST(ChildProcessTest, NoneOutlivesItsOwner) {
  const TempDir dir;
  const std::string pid_file = In(dir, "pid");
  pid_t pid = 0;
  {
    auto child = ChildProcess::Start(
        "/bin/sh", {"-c", "trap '' TERM; echo $$ > " + pid_file + "; while :; do sleep 9; done"},
        In(dir, "log"));
    ASSERT_TRUE(child.ok()) << child.status();
    while (pid == 0) {
      const auto text = ReadFile(pid_file, 100);
      if (text.ok() && text->ends_with('\n')) pid = std::stoi(*text);
    }
    child->AskToStop();  // which it ignores
  }
  EXPECT_NE(::kill(pid, 0), 0);
}

}  // namespace
}  // namespace choir::cli
