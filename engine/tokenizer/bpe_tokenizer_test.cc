// Byte-level BPE on vocabularies made here: merges, words, roles, bad files.

#include "engine/tokenizer/bpe_tokenizer.h"

#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/tokenizer/byte_alphabet.h"
#include "tests/support/vocabulary_builder.h"

namespace choir::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;
using Words = std::vector<std::string_view>;

absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const VocabularyBuilder& builder) {
  const std::string bytes = builder.Build();
  const absl::StatusOr<GgufFile> file = GgufFile::Parse(AsBytes(bytes));
  if (!file.ok()) return file.status();
  return LoadTokenizer(*file);
}

std::unique_ptr<Tokenizer> LoadOrDie(const VocabularyBuilder& builder) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = Load(builder);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  return std::move(tokenizer).value();
}

int32_t AddMerge(VocabularyBuilder& builder, const std::string& left, const std::string& right) {
  builder.merges.push_back(left + " " + right);
  return builder.Add(left + right, 0.0f, 1);
}

Words SplitBy(std::string_view family, std::string_view text) {
  const absl::StatusOr<PreTokenizer> pre = PreTokenizer::Create(family);
  EXPECT_TRUE(pre.ok()) << pre.status().ToString();
  Words words;
  EXPECT_TRUE(pre->Split(text, words).ok());
  return words;
}

TEST(ByteAlphabetTest, EveryByteHasAPrintableCharacterOfItsOwn) {
  std::string bytes;
  for (int i = 0; i < 256; ++i) bytes += static_cast<char>(i);
  const std::string text = ToByteCharacters(bytes);
  EXPECT_EQ(FromByteCharacters(text), bytes);
  EXPECT_EQ(ToByteCharacters(" \n!"), "\u0120\u010a!");
  EXPECT_EQ(FromByteCharacters("\u2581"), "\u2581");
}

TEST(PreTokenizerTest, FamiliesCutNumbersAndContractionsDifferently) {
  EXPECT_THAT(SplitBy("gpt-2", "I'LL we'll 12345"),
              ElementsAre("I", "'", "LL", " we", "'ll", " 12345"));
  EXPECT_THAT(SplitBy("llama-bpe", "I'LL 12345"), ElementsAre("I", "'LL", " ", "123", "45"));
  EXPECT_THAT(SplitBy("qwen2", "12 a\n\n b"), ElementsAre("1", "2", " a", "\n\n", " b"));
  EXPECT_THAT(SplitBy("default", "a==b 12345"), ElementsAre("a", "==", "b", " ", "123", "45"));
}

TEST(PreTokenizerTest, UnicodesLettersDigitsAndSpacesCount) {
  EXPECT_THAT(SplitBy("gpt-2", "\u00e9t\u00e9\u3000\u0665"),
              ElementsAre("\u00e9t\u00e9", "\u3000", "\u0665"));
  // U+180E is no white space since Unicode 6.3.
  EXPECT_THAT(SplitBy("gpt-2", "a\u180e"), ElementsAre("a", "\u180e"));
  EXPECT_THAT(SplitBy("gpt-2", "a \u180e"), ElementsAre("a", " \u180e"));
}

TEST(PreTokenizerTest, BytesThatAreNoUtf8StandApart) {
  EXPECT_THAT(SplitBy("qwen2", "ab\xff\xfe cd"), ElementsAre("ab", "\xff\xfe", " cd"));
  // A surrogate, an overlong form, beyond U+10FFFF, a character cut short.
  for (const std::string_view bad :
       {"\xed\xa0\x80", "\xe0\x80\x80", "\xf4\x90\x80\x80", "\xf0\x9f"}) {
    EXPECT_THAT(SplitBy("llama-bpe", "a" + std::string(bad)), ElementsAre("a", bad));
  }
}

// Backtracking that is quadratic in a run takes hours here.
TEST(PreTokenizerTest, LongRunsTakeLinearTime) {
  for (const std::string_view family : {"default", "gpt-2", "llama-bpe", "qwen2"}) {
    for (const std::string_view unit : {" ", "\n", " \n", "a", "1", "!", "'", "\u00a0", "\xff"}) {
      std::string text;
      while (text.size() < size_t{1} << 20) text += unit;
      text += "x";
      size_t size = 0;
      for (const std::string_view word : SplitBy(family, text)) size += word.size();
      EXPECT_EQ(size, text.size());
    }
  }
}

TEST(PreTokenizerTest, OtherFamiliesAreUnimplementedByName) {
  const absl::Status status = PreTokenizer::Create("tekken").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(status.ToString(), HasSubstr("\"tekken\""));
}

TEST(BpeTokenizerTest, EarlierMergesGoFirstAndTheLeftmostAmongEquals) {
  VocabularyBuilder builder = VocabularyBuilder::ByteLevel("gpt-2");
  const int32_t bc = AddMerge(builder, "b", "c");
  const int32_t ab = AddMerge(builder, "a", "b");
  const int32_t xx = AddMerge(builder, "x", "x");
  const auto tokenizer = LoadOrDie(builder);
  EXPECT_THAT(*tokenizer->Encode("abc"), ElementsAre('a', bc));
  EXPECT_THAT(*tokenizer->Encode("ab"), ElementsAre(ab));
  EXPECT_THAT(*tokenizer->Encode("xxx"), ElementsAre(xx, 'x'));
  EXPECT_THAT(*tokenizer->Encode(""), ElementsAre());
}

TEST(BpeTokenizerTest, NothingIsJoinedAcrossWords) {
  VocabularyBuilder builder = VocabularyBuilder::ByteLevel("qwen2");
  AddMerge(builder, "1", "2");
  const auto tokenizer = LoadOrDie(builder);
  EXPECT_THAT(*tokenizer->Encode("12"), ElementsAre('1', '2'));
}

TEST(BpeTokenizerTest, LlamaTakesWordsThatAreTokensWhole) {
  for (const bool llama : {false, true}) {
    VocabularyBuilder builder = VocabularyBuilder::ByteLevel(llama ? "llama-bpe" : "gpt-2");
    const int32_t word = builder.Add("\u0120cat", 0.0f, 1);
    builder.Add("\u0120end", 0.0f, 3);  // a control token is never taken
    const auto tokenizer = LoadOrDie(builder);
    EXPECT_EQ(tokenizer->Encode(" cat")->front() == word, llama);
    EXPECT_EQ(tokenizer->Encode(" end")->size(), 4u);
  }
}

TEST(BpeTokenizerTest, AnyBytesComeBack) {
  const auto tokenizer = LoadOrDie(VocabularyBuilder::ByteLevel("llama-bpe"));
  std::string text;
  for (int i = 0; i < 512; ++i) text += static_cast<char>(i * 37);
  EXPECT_EQ(*tokenizer->Decode(*tokenizer->Encode(text)), text);
}

TEST(BpeTokenizerTest, ControlTokensInTextAreTextUnlessAskedFor) {
  VocabularyBuilder builder = VocabularyBuilder::ByteLevel("qwen2");
  const int32_t think = builder.Add("<think>", 0.0f, 4);
  const auto end = static_cast<int32_t>(builder.eos);
  const auto tokenizer = LoadOrDie(builder);
  EXPECT_THAT(*tokenizer->Encode("a<|end|><think>", {.parse_special = true}),
              ElementsAre('a', end, think));
  const Ids plain = *tokenizer->Encode("<|end|><think>");
  EXPECT_EQ(plain.size(), 8u);
  EXPECT_EQ(*tokenizer->Decode(plain), "<|end|><think>");
  EXPECT_EQ(*tokenizer->Piece(end), "");
}

TEST(BpeTokenizerTest, OnlyLlamaWantsBosWhenTheFileIsSilent) {
  for (const bool llama : {false, true}) {
    VocabularyBuilder builder = VocabularyBuilder::ByteLevel(llama ? "llama-bpe" : "qwen2");
    builder.add_bos.reset();
    const auto tokenizer = LoadOrDie(builder);
    EXPECT_EQ(tokenizer->special().add_bos, llama);
    EXPECT_EQ(tokenizer->Encode("a")->size(), llama ? 2u : 1u);
    EXPECT_EQ(tokenizer->Encode("a", {.continuation = true})->size(), 1u);
  }
}

// Quadratic merging would take minutes here.
TEST(BpeTokenizerTest, AWordOfAMegabyteTakesNoQuadraticTime) {
  VocabularyBuilder builder = VocabularyBuilder::ByteLevel("gpt-2");
  std::string run = "a";
  for (int i = 0; i < 10; ++i) {
    AddMerge(builder, run, run);
    run += run;
  }
  const auto tokenizer = LoadOrDie(builder);
  EXPECT_EQ(tokenizer->Encode(std::string(1 << 20, 'a'))->size(), (1u << 20) / 1024);
}

TEST(BpeTokenizerTest, TextAboveTheLimitIsInvalid) {
  const auto tokenizer = LoadOrDie(VocabularyBuilder::ByteLevel("gpt-2"));
  const std::string text(Tokenizer::kMaxTextBytes + 1, ' ');
  EXPECT_EQ(tokenizer->Encode(text).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(BpeTokenizerTest, BadVocabulariesAreRefusedWithTheirReason) {
  const auto message_of = [](auto&& spoil) {
    VocabularyBuilder builder = VocabularyBuilder::ByteLevel("gpt-2");
    spoil(builder);
    const absl::Status status = Load(builder).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    return status.ToString();
  };
  EXPECT_THAT(message_of([](auto& b) { b.merges = {"ab"}; }), HasSubstr("merge 0 is not"));
  EXPECT_THAT(message_of([](auto& b) { b.merges = {""}; }), HasSubstr("merge 0 is not"));
  EXPECT_THAT(message_of([](auto& b) { b.merges = {"a b"}; }), HasSubstr("merge 0 has a part"));
  EXPECT_THAT(message_of([](auto& b) {
                b.Add("ab", 0.0f, 3);
                b.merges = {"a b"};
              }),
              HasSubstr("no ordinary token"));
  EXPECT_THAT(message_of([](auto& b) { b.tokens['A'] = "AA"; }), HasSubstr("the byte 0x41"));
}

}  // namespace
}  // namespace choir::engine
