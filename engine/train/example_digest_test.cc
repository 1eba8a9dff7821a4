#include "engine/train/example_digest.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gtest/gtest.h>

namespace choir::engine {
namespace {

Example Text(const std::string& text) {
  return {.text = text};
}

TEST(ExampleDigestTest, TextIsItsSha256) {
  EXPECT_EQ(DigestOf(Text("a  b")).exact, Sha256Of(std::string_view("a  b")));
}

TEST(ExampleDigestTest, OnlyWhiteSpaceIsLoose) {
  const ExampleDigest plain = DigestOf(Text("one two"));
  EXPECT_EQ(DigestOf(Text("\n one\t\r\n two  ")).loose, plain.loose);
  EXPECT_NE(DigestOf(Text("\n one\t\r\n two  ")).exact, plain.exact);
  EXPECT_NE(DigestOf(Text("onetwo")).loose, plain.loose);
  EXPECT_NE(DigestOf(Text("One two")).loose, plain.loose);
}

TEST(ExampleDigestTest, PartsOfAnExampleDoNotRunIntoEachOther) {
  const auto pair = [](const std::string& prompt, const std::string& completion) {
    return DigestOf(
        {.form = Example::Form::kPromptCompletion, .prompt = prompt, .completion = completion});
  };
  EXPECT_NE(pair("ab", "c").exact, pair("a", "bc").exact);
  EXPECT_NE(pair("a b", "c").loose, pair("a", "b c").loose);
  EXPECT_EQ(pair("a ", "c").loose, pair("a", "c").loose);
  const Example chat = {.form = Example::Form::kMessages, .messages = {{"a", "c"}}};
  EXPECT_NE(DigestOf(chat).exact, pair("a", "c").exact);
}

TEST(LooseHasherTest, CuttingATextChangesNothing) {
  const std::string text = "  one two\n\n three ";
  const Digest whole = DigestOf(Text(text)).loose;
  for (size_t cut = 0; cut <= text.size(); ++cut) {
    LooseHasher hasher;
    hasher.Update(text.substr(0, cut));
    hasher.Update(text.substr(cut));
    EXPECT_EQ(hasher.Finish(), whole) << cut;
  }
}

std::vector<Digest> SomeDigests(int count) {
  std::vector<Digest> digests;
  for (int i = 0; i < count; ++i) digests.push_back(DigestOf(Text(std::to_string(i))).loose);
  return digests;
}

uint64_t CountHeldOut(const HeldOutSplit& split, const std::vector<Digest>& digests) {
  return static_cast<uint64_t>(
      std::count_if(digests.begin(), digests.end(),
                    [&split](const Digest& digest) { return split.HoldsOut(digest); }));
}

TEST(HeldOutSplitTest, HoldsOutTheAskedPartOfTheDifferentExamples) {
  std::vector<Digest> digests = SomeDigests(40);
  for (int i = 0; i < 25; ++i) digests.push_back(digests[0]);  // one example 26 times counts once
  const auto split = HeldOutSplit::Choose(0.25, 3, digests);
  ASSERT_TRUE(split.ok()) << split.status();
  EXPECT_EQ(split->different(), 40u);
  EXPECT_EQ(split->held_out(), 10u);
  EXPECT_EQ(CountHeldOut(*split, SomeDigests(40)), 10u);
}

TEST(HeldOutSplitTest, OrderDoesNotMatterAndTheSeedDoes) {
  std::vector<Digest> digests = SomeDigests(200);
  const auto split = HeldOutSplit::Choose(0.5, 3, digests);
  std::reverse(digests.begin(), digests.end());
  const auto again = HeldOutSplit::Choose(0.5, 3, digests);
  const auto other = HeldOutSplit::Choose(0.5, 4, digests);
  ASSERT_TRUE(split.ok() && again.ok() && other.ok());
  int moved = 0;
  for (const Digest& digest : digests) {
    EXPECT_EQ(split->HoldsOut(digest), again->HoldsOut(digest));
    if (split->HoldsOut(digest) != other->HoldsOut(digest)) ++moved;
  }
  EXPECT_GT(moved, 50);  // about 100 of 200
}

TEST(HeldOutSplitTest, AtLeastOneAndNeverAll) {
  const std::vector<Digest> two = SomeDigests(2);
  EXPECT_EQ(CountHeldOut(*HeldOutSplit::Choose(0.999, 1, two), two), 1u);
  EXPECT_EQ(CountHeldOut(*HeldOutSplit::Choose(0.001, 1, two), two), 1u);
  EXPECT_FALSE(HeldOutSplit::Choose(0.5, 1, SomeDigests(1)).ok());
  EXPECT_FALSE(HeldOutSplit::Choose(0.5, 1, {two[0], two[0]}).ok());
  for (const double fraction : {0.0, 1.0, -0.1, 1.5}) {
    EXPECT_FALSE(HeldOutSplit::Choose(fraction, 1, two).ok()) << fraction;
  }
}

}  // namespace
}  // namespace choir::engine
