#include <cmath>
#include <fstream>
#include <memory>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "engine/backend/registry.h"
#include "engine/infer/choice_items.h"
#include "engine/infer/choice_scorer.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace choir::engine {
namespace {

const ChoiceItemOptions kOptions = {.choices = {"yes", "no", "not sure"}};

std::string ErrorOf(std::string_view line) {
  const auto item = ParseChoiceItem(line, kOptions);
  return item.ok() ? "" : std::string(item.status().message());
}

TEST(ChoiceItemTest, AnswersAreStatedOrBeginWhatFollows) {
  const std::pair<const char*, size_t> kCases[] = {
      {R"({"prompt":"q","answer":"No"})", 1},
      {R"({"prompt":"q","label":"YES","completion":"No."})", 0},
      {R"({"prompt":"q","completion":"No. Since"})", 1},
      {R"({"prompt":"q","completion":"Not sure, as"})", 2},
      {R"({"messages":[{"role":"user","content":"q"},{"role":"assistant","content":"Yes"}]})", 0},
      {R"({"messages":[{"role":"user","content":"q"}],"answer":"no"})", 1},
      {R"({"text":"Q: q\nA: No. Rationale"})", 1},
      {R"({"text":"A:yes","label":"No"})", 1},
  };
  for (const auto& [line, answer] : kCases) {
    const auto item = ParseChoiceItem(line, kOptions);
    ASSERT_TRUE(item.ok()) << line << item.status();
    EXPECT_EQ(item->answer, answer) << line;
  }
}

TEST(ChoiceItemTest, TheAnswerIsNoPartOfThePrompt) {
  const auto text = ParseChoiceItem(R"({"text":"Q: A: q\nA:  No. More"})", kOptions);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_EQ(text->prompt, "Q: A: q\nA:");
  EXPECT_EQ(text->gap, "  ");
  const std::string both =
      R"({"prompt":"p","completion":"no","messages":[{"role":"user","content":"m"},)"
      R"({"role":"assistant","content":"yes"}]})";
  const auto chat = ParseChoiceItem(both, kOptions);
  ASSERT_TRUE(chat.ok()) << chat.status();
  ASSERT_EQ(chat->messages.size(), 1u);
  EXPECT_EQ(chat->messages[0].content, "m");
  EXPECT_EQ(chat->answer, 0u);
  ChoiceItemOptions plain = kOptions;
  plain.prefer_messages = false;
  const auto prompt = ParseChoiceItem(both, plain);
  ASSERT_TRUE(prompt.ok()) << prompt.status();
  EXPECT_EQ(prompt->prompt, "p");
  EXPECT_EQ(prompt->answer, 1u);
}

TEST(ChoiceItemTest, WhatIsWrongIsSaid) {
  EXPECT_NE(ErrorOf(R"({"prompt":"q","answer":"unsure"})").find("'unsure' is none of the choices"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"prompt":"q","answer":"no way"})").find("none of the choices"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"prompt":"q","completion":"nothing"})").find("begins with none"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"text":"no question","label":"no"})").find("begins with 'A:'"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"({"answer":"no"})").find("there is no \"prompt\""), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"prompt":1,"answer":"no"})").find("\"prompt\" is no string"),
            std::string::npos);
  EXPECT_NE(ErrorOf(R"([1])").find("no JSON object"), std::string::npos);
  EXPECT_NE(ErrorOf(std::string(100, '[')).find("no JSON object"), std::string::npos);
  EXPECT_NE(ErrorOf(R"({"messages":[{"role":"assistant","content":"yes"}]})").find("no message"),
            std::string::npos);
}

TEST(ChoiceItemTest, ChoicesMustDiffer) {
  EXPECT_TRUE(CheckChoices(kOptions.choices).ok());
  EXPECT_FALSE(CheckChoices(std::vector<std::string>{"yes"}).ok());
  EXPECT_FALSE(CheckChoices(std::vector<std::string>{"yes", ""}).ok());
  EXPECT_FALSE(CheckChoices(std::vector<std::string>{"yes", " no"}).ok());
  EXPECT_FALSE(CheckChoices(std::vector<std::string>{"yes", "no", "YES"}).ok());
}

TEST(ChoiceItemTest, AFileNamesTheLineOrCountsIt) {
  const TempDir dir;
  const std::string path = dir.path() + "/items.jsonl";
  std::ofstream(path) << R"({"prompt":"a","answer":"yes"})"
                      << "\n\n"
                      << R"({"prompt":"b","answer":"perhaps"})"
                      << "\n"
                      << R"({"prompt":"c","answer":"no"})";
  ChoiceItemReport report;
  const auto strict = ReadChoiceItems(path, kOptions, report);
  ASSERT_FALSE(strict.ok());
  EXPECT_NE(strict.status().message().find("items.jsonl:3: the answer 'perhaps'"),
            std::string::npos);
  ChoiceItemOptions lenient = kOptions;
  lenient.skip_bad_lines = true;
  const auto items = ReadChoiceItems(path, lenient, report);
  ASSERT_TRUE(items.ok()) << items.status();
  EXPECT_EQ(items->size(), 2u);
  EXPECT_EQ((*items)[1].line, 4u);
  EXPECT_EQ(report.bad_lines, 1u);
  EXPECT_EQ(report.first_bad_line, 3u);
}

TEST(ChoiceTallyTest, AgreesWithScikitLearn) {
  // y_true = [0,0,0,1,1,2], y_pred = [0,0,1,1,0,0]: accuracy 3/6; F1 0.5714, 0.5, 0.
  ChoiceTally tally(3);
  const size_t kPairs[][2] = {{0, 0}, {0, 0}, {0, 1}, {1, 1}, {1, 0}, {2, 0}};
  for (const auto& [answer, predicted] : kPairs) tally.Add(answer, predicted);
  EXPECT_DOUBLE_EQ(tally.Accuracy(), 0.5);
  EXPECT_NEAR(tally.MacroF1(), (4.0 / 7 + 0.5 + 0) / 3, 1e-12);
  EXPECT_EQ(tally.MajorityChoice(), 0u);
  EXPECT_DOUBLE_EQ(tally.MajorityBaseline().Accuracy(), 0.5);
  EXPECT_NEAR(tally.MajorityBaseline().MacroF1(), (2.0 / 3) / 3, 1e-12);
  EXPECT_EQ(tally.MajorityBaseline().Count(2, 0), 1u);
}

TEST(ChoiceTallyTest, AChoiceThatNeverOccursIsLeftOut) {
  ChoiceTally tally(3);
  tally.Add(0, 0);
  tally.Add(1, 1);
  EXPECT_DOUBLE_EQ(tally.MacroF1(), 1.0);
}

TEST(ChoiceScoreTest, LengthDecidesBetweenTheTwoRules) {
  const std::vector<ChoiceScore> scores = {{-2.0, 1}, {-3.0, 3}};
  EXPECT_EQ(LikeliestBySum(scores), 0u);
  EXPECT_EQ(LikeliestPerToken(scores), 1u);
}

// Sharing the prompt changes no score: each choice alone, by its whole text, has the same.
TEST(ChoiceScoreTest, ThePromptIsProcessedOnce) {
  CHOIR_TEST_DATA_OR_SKIP(dir);
  const auto backend = CreateBackend("cpu", BackendOptions{});
  ASSERT_TRUE(backend.ok()) << backend.status();
  const auto model = Model::Open(dir + "/models/stories260K-f32.gguf");
  ASSERT_TRUE(model.ok()) << model.status();
  const auto weights = DeviceModel::Load(**backend, *model);
  ASSERT_TRUE(weights.ok()) << weights.status();
  const auto create = [&] {
    return CachedModel::Create(*model, **backend, *weights, nullptr,
                               {.context_tokens = 64, .kv_cache = KvCacheType::kF32});
  };
  const std::vector<std::string> choices = {"little girl", "big dog named Max"};
  const auto tokens =
      TokenizeChoices({.prompt = "Once upon a time there was a", .gap = " ", .messages = {}},
                      choices, model->tokenizer(), nullptr);
  ASSERT_TRUE(tokens.ok()) << tokens.status();
  auto shared = create();
  ASSERT_TRUE(shared.ok()) << shared.status();
  const auto scores = ScoreChoices(*shared, *tokens);
  ASSERT_TRUE(scores.ok()) << scores.status();
  size_t once = tokens->prompt.size();
  for (size_t c = 0; c < choices.size(); ++c) {
    once += tokens->choices[c].size() - 1;
    EXPECT_EQ((*scores)[c].tokens, tokens->choices[c].size());
    std::vector<int32_t> text = tokens->prompt;
    double want = 0;
    for (const int32_t id : tokens->choices[c]) {
      auto fresh = create();
      const auto logits = fresh->Logits(text);
      ASSERT_TRUE(logits.ok()) << logits.status();
      double sum = 0;
      for (const float z : *logits) sum += std::exp(static_cast<double>(z));
      want += static_cast<double>((*logits)[static_cast<size_t>(id)]) - std::log(sum);
      text.push_back(id);
    }
    EXPECT_NEAR((*scores)[c].log_likelihood, want, 1e-3);
  }
  EXPECT_EQ(shared->processed_tokens(), static_cast<int64_t>(once));
  EXPECT_EQ(LikeliestBySum(*scores), 0u);  // the stories' most frequent heroine
}

}  // namespace
}  // namespace choir::engine
