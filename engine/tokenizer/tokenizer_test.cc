// The tokenizer on vocabularies made here: rules, roles, streams, hostile files.

#include "engine/tokenizer/tokenizer.h"

#include <limits>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/tokenizer/stream_decoder.h"
#include "tests/support/vocabulary_builder.h"

namespace choir::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Ids = std::vector<int32_t>;

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

int32_t ByteToken(char c) {
  return 3 + static_cast<uint8_t>(c);
}

TEST(SpmTokenizerTest, BestScoreMergesFirstAndTheLeftmostAmongEquals) {
  VocabularyBuilder builder;
  builder.add_bos = false;
  builder.add_space_prefix = false;
  const int32_t ab = builder.Add("ab", -2.0f, 1);
  const int32_t bc = builder.Add("bc", -1.0f, 1);
  const int32_t xx = builder.Add("xx", -1.0f, 1);
  const auto tokenizer = LoadOrDie(builder);
  EXPECT_THAT(*tokenizer->Encode("abc"), ElementsAre(ByteToken('a'), bc));
  EXPECT_THAT(*tokenizer->Encode("ab"), ElementsAre(ab));
  EXPECT_THAT(*tokenizer->Encode("xxx"), ElementsAre(xx, ByteToken('x')));
}

TEST(SpmTokenizerTest, CharactersWithoutTokenBecomeBytesAndComeBack) {
  VocabularyBuilder builder;
  builder.add_space_prefix = false;
  const auto tokenizer = LoadOrDie(builder);
  const std::string text = "\u00e9\xff";
  EXPECT_THAT(*tokenizer->Encode(text),
              ElementsAre(1, ByteToken('\xc3'), ByteToken('\xa9'), ByteToken('\xff')));
  EXPECT_EQ(*tokenizer->Decode(*tokenizer->Encode(text)), text);
}

TEST(SpmTokenizerTest, EveryByteSequenceSurvivesTheRoundTrip) {
  const auto tokenizer = LoadOrDie(VocabularyBuilder());
  std::string text;
  for (int i = 0; i < 512; ++i) text += static_cast<char>(i * 37);
  EXPECT_EQ(*tokenizer->Decode(*tokenizer->Encode(text)), text);
  EXPECT_EQ(*tokenizer->Decode(*tokenizer->Encode("  two spaces ")), "  two spaces ");
}

TEST(SpmTokenizerTest, BosAndEosStandWhereTheFileAsks) {
  VocabularyBuilder builder;
  builder.add_eos = true;
  builder.add_space_prefix = false;
  const auto tokenizer = LoadOrDie(builder);
  EXPECT_THAT(*tokenizer->Encode("a"), ElementsAre(1, ByteToken('a'), 2));
  EXPECT_THAT(*tokenizer->Encode(""), ElementsAre(1, 2));
  EXPECT_THAT(*tokenizer->Encode("a", {.add_special = false}), ElementsAre(ByteToken('a')));
  EXPECT_THAT(*tokenizer->Encode("a", {.continuation = true}), ElementsAre(ByteToken('a'), 2));
  EXPECT_TRUE(tokenizer->IsEndOfGeneration(2));
  EXPECT_FALSE(tokenizer->IsEndOfGeneration(1));
}

TEST(SpmTokenizerTest, ControlTokensInTextAreTextUnlessAskedFor) {
  VocabularyBuilder builder;
  builder.add_bos = false;
  builder.add_space_prefix = false;
  // Merges that would spell the control token.
  builder.Add("</", -1.0f, 1);
  builder.Add("</s", -1.0f, 1);
  const auto tokenizer = LoadOrDie(builder);
  const Ids plain = *tokenizer->Encode("a</s>");
  EXPECT_EQ(std::count(plain.begin(), plain.end(), 2), 0);
  EXPECT_EQ(*tokenizer->Decode(plain), "a</s>");
  EXPECT_THAT(*tokenizer->Encode("a</s>", {.parse_special = true}), ElementsAre(ByteToken('a'), 2));
}

TEST(SpmTokenizerTest, UserDefinedTokensAreAlwaysWholeAndLongerOnesWin) {
  VocabularyBuilder builder;
  builder.add_bos = false;
  builder.add_space_prefix = false;
  const int32_t tag = builder.Add("<tag>", 0.0f, 4);
  const int32_t tags = builder.Add("<tag><tag>", 0.0f, 4);
  const auto tokenizer = LoadOrDie(builder);
  EXPECT_THAT(*tokenizer->Encode("<tag>x<tag><tag><tag>"),
              ElementsAre(tag, ByteToken('x'), tags, tag));
  EXPECT_EQ(*tokenizer->Decode(Ids{tag}), "<tag>");
}

// Gemma's vocabularies: no space before a text, and runs of spaces and line feeds as user-defined
// tokens, written with real spaces.
TEST(SpmTokenizerTest, GemmasRules) {
  VocabularyBuilder builder;
  builder.add_space_prefix = false;
  const int32_t turn = builder.Add("<start_of_turn>", 0.0f, 3);
  const int32_t end = builder.Add("<end_of_turn>", 0.0f, 3);
  const int32_t two_lines = builder.Add("\n\n", 0.0f, 4);
  const int32_t two_spaces = builder.Add("  ", 0.0f, 4);
  const auto tokenizer = LoadOrDie(builder);
  EXPECT_THAT(*tokenizer->Encode("<start_of_turn>a\n\n  b", {.parse_special = true}),
              ElementsAre(1, turn, ByteToken('a'), two_lines, two_spaces, ByteToken('b')));
  EXPECT_EQ(*tokenizer->Decode(Ids{two_spaces, ByteToken('b')}), "  b");
  EXPECT_EQ(tokenizer->special().eot, end);
  EXPECT_TRUE(tokenizer->IsEndOfGeneration(end));
}

TEST(SpmTokenizerTest, UnknownCharacterWithoutByteTokensIsTheUnknownToken) {
  VocabularyBuilder builder;
  builder.tokens.resize(3);
  builder.scores.resize(3);
  builder.types.resize(3);
  builder.add_bos = false;
  builder.add_space_prefix = false;
  const int32_t a = builder.Add("a", 0.0f, 1);
  const auto tokenizer = LoadOrDie(builder);
  EXPECT_THAT(*tokenizer->Encode("a\u00e9"), ElementsAre(a, 0));
  builder.unknown = std::numeric_limits<uint32_t>::max();  // "none"
  EXPECT_THAT(Load(builder).status().ToString(), HasSubstr("neither a token for every byte"));
}

TEST(SpmTokenizerTest, AFileThatDoesNotSayHasTheUsualSpecialTokens) {
  VocabularyBuilder builder;
  builder.say_special = false;
  builder.add_space_prefix = false;
  EXPECT_THAT(*LoadOrDie(builder)->Encode("a"), ElementsAre(1, ByteToken('a')));
  builder.types[1] = 1;  // an ordinary token in BOS's place
  EXPECT_EQ(LoadOrDie(builder)->special().bos, std::nullopt);
  EXPECT_THAT(*LoadOrDie(builder)->Encode("a"), ElementsAre(ByteToken('a')));
}

TEST(SpmTokenizerTest, IdsOutsideTheVocabularyAreInvalid) {
  const auto tokenizer = LoadOrDie(VocabularyBuilder());
  for (const int32_t id : {-1, 260, std::numeric_limits<int32_t>::min()}) {
    EXPECT_EQ(tokenizer->Decode(Ids{id}).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(tokenizer->Piece(id).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

// Quadratic merging would take minutes here: everything joins to everything.
TEST(SpmTokenizerTest, LongRunsOfOneCharacterTakeNoQuadraticTime) {
  VocabularyBuilder builder;
  builder.add_bos = false;
  builder.add_space_prefix = false;
  std::string run = "a";
  for (int i = 0; i < 10; ++i) {
    run += run;
    builder.Add(run, -static_cast<float>(i), 1);
  }
  const auto tokenizer = LoadOrDie(builder);
  EXPECT_EQ(tokenizer->Encode(std::string(1 << 20, 'a'))->size(), (1u << 20) / 1024);
}

TEST(SpmTokenizerTest, TextAboveTheLimitIsInvalid) {
  const auto tokenizer = LoadOrDie(VocabularyBuilder());
  const std::string text(Tokenizer::kMaxTextBytes + 1, ' ');
  EXPECT_EQ(tokenizer->Encode(text).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(StreamDecoderTest, CharactersAppearWhole) {
  VocabularyBuilder builder;
  const int32_t word = builder.Add("\u2581hi", 0.0f, 1);
  const auto tokenizer = LoadOrDie(builder);
  StreamDecoder stream(*tokenizer);
  EXPECT_EQ(*stream.DecodePiece(word), " hi");
  EXPECT_EQ(*stream.DecodePiece(ByteToken('\xf0')), "");
  EXPECT_EQ(*stream.DecodePiece(ByteToken('\x9f')), "");
  EXPECT_EQ(*stream.DecodePiece(ByteToken('\xa6')), "");
  EXPECT_EQ(*stream.DecodePiece(ByteToken('\x99')), "\U0001f999");
  EXPECT_EQ(*stream.DecodePiece(ByteToken('\xc3')), "");
  EXPECT_EQ(*stream.DecodePiece(word), "\xc3 hi");  // never completed: passed on as it is
  EXPECT_EQ(*stream.DecodePiece(ByteToken('\xe2')), "");
  EXPECT_EQ(stream.Flush(), "\xe2");
  EXPECT_EQ(stream.Flush(), "");
}

TEST(StreamDecoderTest, PrefixNeverCutsACharacter) {
  EXPECT_EQ(CompleteUtf8Prefix(""), 0u);
  EXPECT_EQ(CompleteUtf8Prefix("a\xc3"), 1u);
  EXPECT_EQ(CompleteUtf8Prefix("a\xc3\xa9"), 3u);
  EXPECT_EQ(CompleteUtf8Prefix("\xf0\x9f\xa6"), 0u);
  EXPECT_EQ(CompleteUtf8Prefix("\x80\x80\x80\x80"), 4u);
  EXPECT_EQ(CompleteUtf8Prefix("\xff\xfe"), 2u);
}

struct BadVocabulary {
  const char* name;
  void (*spoil)(VocabularyBuilder&);
  const char* message;
};

class BadVocabularyTest : public ::testing::TestWithParam<BadVocabulary> {};

TEST_P(BadVocabularyTest, IsRefusedWithItsReason) {
  VocabularyBuilder builder;
  GetParam().spoil(builder);
  const absl::Status status = Load(builder).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.ToString(), HasSubstr(GetParam().message));
}

INSTANTIATE_TEST_SUITE_P(
    All, BadVocabularyTest,
    ::testing::Values(
        BadVocabulary{"ScoresShorterThanTokens", [](VocabularyBuilder& b) { b.scores.pop_back(); },
                      "259 elements for 260 tokens"},
        BadVocabulary{"TypesShorterThanTokens", [](VocabularyBuilder& b) { b.types.pop_back(); },
                      "259 elements for 260 tokens"},
        BadVocabulary{"NoTokens",
                      [](VocabularyBuilder& b) {
                        b.tokens.clear();
                        b.types.clear();
                        b.scores.clear();
                      },
                      "has 0 tokens"},
        BadVocabulary{"TokenOf65537Bytes",
                      [](VocabularyBuilder& b) { b.Add(std::string(65537, 'x'), 0, 1); },
                      "65537 bytes"},
        BadVocabulary{"NegativeByteToken", [](VocabularyBuilder& b) { b.Add("<0x-1>", 0, 6); },
                      "not of the form"},
        BadVocabulary{"SameByteTwice", [](VocabularyBuilder& b) { b.Add("<0x41>", 0, 6); },
                      "same byte"},
        BadVocabulary{"TypeZero", [](VocabularyBuilder& b) { b.types[5] = 0; }, "type 0"},
        BadVocabulary{"TypeSeven", [](VocabularyBuilder& b) { b.types[5] = 7; }, "type 7"},
        BadVocabulary{
            "NanScore",
            [](VocabularyBuilder& b) { b.scores[9] = std::numeric_limits<float>::quiet_NaN(); },
            "NaN"},
        BadVocabulary{"BosOutside", [](VocabularyBuilder& b) { b.bos = 260; },
                      "bos_token_id is 260"},
        BadVocabulary{"BosWantedButNone", [](VocabularyBuilder& b) { b.bos = 0xffffffffu; },
                      "names no such token"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(LoadTokenizerTest, OtherModelsAreUnimplementedByName) {
  VocabularyBuilder builder;
  builder.model = "rwkv";
  const absl::Status status = Load(builder).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(status.ToString(), HasSubstr("\"rwkv\""));
}

}  // namespace
}  // namespace choir::engine
