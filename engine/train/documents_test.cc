#include <algorithm>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/train/dataset.h"
#include "engine/train/packer.h"
#include "tests/support/test_data.h"
#include "tests/support/vocabulary_builder.h"
#include <nlohmann/json.hpp>

namespace choir::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int32_t kBos = 1;
constexpr int32_t kEos = 2;

int32_t Byte(char c) {
  return 3 + static_cast<uint8_t>(c);
}

class DocumentsTest : public ::testing::Test {
 protected:
  DocumentsTest() {
    VocabularyBuilder builder;
    builder.add_space_prefix = false;
    const std::string bytes = builder.Build();
    tokenizer_ = *LoadTokenizer(*GgufFile::Parse(AsBytes(bytes)));
  }
  [[nodiscard]] Document Tokenize(const Example& example, const TokenizeOptions& options) const {
    absl::StatusOr<Document> document = TokenizeExample(example, *tokenizer_, options);
    EXPECT_TRUE(document.ok()) << document.status().ToString();
    return std::move(document).value();
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

Example Pair(const std::string& prompt, const std::string& completion) {
  return {.form = Example::Form::kPromptCompletion, .prompt = prompt, .completion = completion};
}

Example Chat() {
  return {.form = Example::Form::kMessages, .messages = {{"user", "q"}, {"assistant", "a"}}};
}

// <s>role: content\n, in_loss for the assistant.
absl::StatusOr<std::vector<ChatSpan>> FormatChat(std::span<const ChatMessage> messages) {
  std::vector<ChatSpan> spans = {{"<s>", true, false}};
  for (const ChatMessage& message : messages) {
    spans.push_back({message.role.substr(0, 1), true, false});
    spans.push_back({message.content, false, message.role == "assistant"});
  }
  return spans;
}

TEST_F(DocumentsTest, TextIsPredictedWhollyButForBos) {
  const Document document = Tokenize({.text = "ab"}, {});
  EXPECT_THAT(document.tokens, ElementsAre(kBos, Byte('a'), Byte('b'), kEos));
  EXPECT_THAT(document.in_loss, ElementsAre(0, 1, 1, 1));
  EXPECT_THAT(Tokenize({.text = "ab"}, {.append_eos = false}).tokens, SizeIs(3));
}

TEST_F(DocumentsTest, OnlyTheCompletionIsInTheLossIfAsked) {
  const Document all = Tokenize(Pair("p", "c"), {});
  EXPECT_THAT(all.tokens, ElementsAre(kBos, Byte('p'), Byte('c'), kEos));
  EXPECT_THAT(all.in_loss, ElementsAre(0, 1, 1, 1));
  const Document masked = Tokenize(Pair("p", "c"), {.train_on = TrainOn::kCompletion});
  EXPECT_EQ(masked.tokens, all.tokens);
  EXPECT_THAT(masked.in_loss, ElementsAre(0, 0, 1, 1));
}

TEST_F(DocumentsTest, MessagesNeedAChatFormatter) {
  const absl::Status status = TokenizeExample(Chat(), *tokenizer_, {}).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(status.ToString(), HasSubstr("chat template"));
}

TEST_F(DocumentsTest, AssistantIsInTheLossAndBosComesOnce) {
  const Document document =
      Tokenize(Chat(), {.train_on = TrainOn::kCompletion, .chat_formatter = FormatChat});
  EXPECT_THAT(document.tokens, ElementsAre(kBos, Byte('u'), Byte('q'), Byte('a'), Byte('a')));
  EXPECT_THAT(document.in_loss, ElementsAre(0, 0, 0, 0, 1));
}

TEST_F(DocumentsTest, ContentCannotSpellAControlToken) {
  Example chat = Chat();
  chat.messages[0].content = "</s>";
  const Document document = Tokenize(chat, {.chat_formatter = FormatChat});
  EXPECT_EQ(std::count(document.tokens.begin(), document.tokens.end(), kEos), 0);
  const Document text = Tokenize({.text = "</s>"}, {.append_eos = false});
  EXPECT_EQ(std::count(text.tokens.begin(), text.tokens.end(), kEos), 0);
}

TEST_F(DocumentsTest, DocumentsWithNothingToPredictAreLeftOut) {
  Example silent = Chat();
  silent.messages.pop_back();
  const TokenizeOptions options = {.train_on = TrainOn::kCompletion, .chat_formatter = FormatChat};
  const std::vector<Example> examples = {silent, Chat()};
  EXPECT_THAT(*TokenizeExamples(examples, *tokenizer_, options), SizeIs(1));
  EXPECT_EQ(TokenizeExamples(std::span(examples).first(1), *tokenizer_, options).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(DocumentsTest, JoinedTextPrefersTextOverPromptAndCompletion) {
  Example whole = Pair("p", "c");
  whole.text = "t";
  const std::vector<Example> examples = {Pair("p", "c"), whole};
  EXPECT_THAT(*TokenizeJoined(examples, "\n", *tokenizer_),
              ElementsAre(Byte('p'), Byte('c'), Byte('\n'), Byte('t')));
  EXPECT_FALSE(TokenizeJoined(std::vector<Example>{Chat()}, "\n", *tokenizer_).ok());
}

TEST(CutWindowsTest, EachWindowBeginsWithBosAndPredictsTheRest) {
  const std::vector<int32_t> tokens = {10, 11, 12, 13, 14};
  const auto windows = CutWindows(tokens, kBos, 2, false);
  ASSERT_TRUE(windows.ok());
  ASSERT_THAT(*windows, SizeIs(2));
  EXPECT_THAT((*windows)[1].tokens, ElementsAre(kBos, 12, 13));
  EXPECT_THAT((*windows)[1].in_loss, ElementsAre(0, 1, 1));
  const auto with_tail = CutWindows(tokens, kBos, 2, true);
  ASSERT_THAT(*with_tail, SizeIs(3));
  EXPECT_THAT((*with_tail)[2].tokens, ElementsAre(kBos, 14));
  EXPECT_FALSE(CutWindows(tokens, kBos, 6, false).ok());
  EXPECT_TRUE(CutWindows(tokens, kBos, 6, true).ok());
  EXPECT_FALSE(CutWindows(tokens, kBos, 0, true).ok());
  EXPECT_FALSE(CutWindows({}, kBos, 2, true).ok());
}

// The stored trajectory trains on one speaker's lines, joined and cut into windows of 64.
TEST(ReferenceTrajectoryTest, JoinedWindowsAreThoseOfTheReference) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const auto json = nlohmann::json::parse(*ReadFile(data + "/reference/lora.json", 1 << 20));
  const auto want = json[0].at("trajectory").at("tokens").get<std::vector<int32_t>>();
  const auto file = GgufFile::Open(data + "/" + json[0].at("model").get<std::string>());
  ASSERT_TRUE(file.ok());
  const auto tokenizer = LoadTokenizer(*file);
  ASSERT_TRUE(tokenizer.ok());
  const auto examples =
      ReadExamples(data + "/datasets/shakespeare_roles/client05-romeo.train.jsonl");
  ASSERT_TRUE(examples.ok());
  const auto tokens = TokenizeJoined(*examples, "\n", **tokenizer);
  ASSERT_TRUE(tokens.ok());
  ASSERT_GE(tokens->size(), want.size());
  EXPECT_TRUE(std::equal(want.begin(), want.end(), tokens->begin()));
  auto windows = CutWindows(*tokens, kBos, 64, false);
  ASSERT_TRUE(windows.ok());
  auto packer = Packer::Create(*std::move(windows),
                               {.tokens_per_micro_batch = 64, .shuffle = false, .pack = false}, 0);
  ASSERT_TRUE(packer.ok());
  MicroBatch batch;
  for (size_t step = 0; step < 20; ++step) {
    ASSERT_TRUE(packer->Next(batch).ok());
    ASSERT_EQ(batch.token_ids[0], kBos);
    const auto expected = want.begin() + static_cast<std::ptrdiff_t>(step * 64);
    EXPECT_TRUE(std::equal(batch.targets.begin(), batch.targets.end(), expected)) << step;
    EXPECT_EQ(batch.total_loss_weight, 64.0);
  }
}

}  // namespace
}  // namespace choir::engine
