#include "engine/train/data_survey.h"

#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace choir::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;

TEST(LengthSurveyTest, QuantilesAreNearestRanks) {
  LengthSurvey survey;
  EXPECT_EQ(survey.Quantile(0.5), 0u);
  for (const uint64_t length : {50, 15, 40, 20, 35}) survey.Add(length);
  EXPECT_EQ(survey.Quantile(0), 15u);
  EXPECT_EQ(survey.Quantile(0.3), 20u);
  EXPECT_EQ(survey.Quantile(0.4), 20u);
  EXPECT_EQ(survey.Quantile(0.5), 35u);
  EXPECT_EQ(survey.Quantile(1), 50u);
  EXPECT_EQ(survey.total(), 160u);
  EXPECT_DOUBLE_EQ(survey.Mean(), 32.0);
  survey.Add(1);
  EXPECT_EQ(survey.Quantile(0), 1u);
}

TEST(LengthSurveyTest, TheHistogramDoublesAndHasNoHoles) {
  LengthSurvey survey;
  for (const uint64_t length : {0, 1, 2, 3, 8, 15, 16}) survey.Add(length);
  EXPECT_THAT(survey.Histogram(),
              ElementsAre(Pair(1, 2), Pair(2, 2), Pair(4, 0), Pair(8, 2), Pair(16, 1)));
}

TEST(DataSurveyTest, FormsFilesAndRepeatsAreCounted) {
  DataSurvey survey;
  const std::string a = "a.jsonl";
  const std::string b = "b.txt";
  const auto add = [&survey](const std::string& file, Example example) {
    survey.Add(example, {.file = file, .line = 1, .bytes = 10});
  };
  add(a, {.text = "one  two"});
  add(a, {.text = "one  two"});
  add(b, {.text = "one\ntwo"});
  add(a, {.form = Example::Form::kPromptCompletion, .prompt = "q", .completion = "aa"});
  add(a, {.form = Example::Form::kMessages, .messages = {{"user", "hello"}, {"assistant", "hi"}}});
  EXPECT_EQ(survey.texts, 3u);
  EXPECT_EQ(survey.pairs, 1u);
  EXPECT_EQ(survey.conversations, 1u);
  EXPECT_EQ(survey.exact_repeats, 1u);
  EXPECT_EQ(survey.loose_repeats, 2u);
  EXPECT_EQ(survey.files.at(a).examples, 4u);
  EXPECT_EQ(survey.files.at(b).bytes, 10u);
  EXPECT_EQ(survey.bytes.Quantile(0), 3u);
  EXPECT_EQ(survey.bytes.Quantile(1), 8u);
}

}  // namespace
}  // namespace choir::engine
