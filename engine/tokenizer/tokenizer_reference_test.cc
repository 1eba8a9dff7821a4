// The tokenizer against the stored ids of llama.cpp, on real vocabularies.

#include <chrono>
#include <filesystem>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/tokenizer/stream_decoder.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/support/test_data.h"
#include <nlohmann/json.hpp>

namespace choir::engine {
namespace {

using Ids = std::vector<int32_t>;
constexpr EncodeOptions kPlain = {.add_special = false};

std::unique_ptr<Tokenizer> LoadFrom(const std::string& path) {
  const absl::StatusOr<GgufFile> file = GgufFile::Open(path);
  EXPECT_TRUE(file.ok()) << file.status().ToString();
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = LoadTokenizer(*file);
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status().ToString();
  return std::move(tokenizer).value();
}

std::string ReadAll(const std::string& path) {
  const absl::StatusOr<std::string> text = ReadFile(path, 1 << 24);
  EXPECT_TRUE(text.ok()) << text.status().ToString();
  return text.value_or("");
}

nlohmann::json ReadJson(const std::string& path) {
  return nlohmann::json::parse(ReadAll(path));
}

std::vector<std::string> SplitAt(std::string_view text, std::string_view separator) {
  std::vector<std::string> out;
  for (;;) {
    const size_t at = text.find(separator);
    out.emplace_back(text.substr(0, at));
    if (at == std::string_view::npos) return out;
    text.remove_prefix(at + separator.size());
  }
}

class VocabularyReferenceTest : public ::testing::TestWithParam<const char*> {
 protected:
  static std::string PathIn(const std::string& data) {
    return data + "/tokenizers/ggml-vocab-" + GetParam() + ".gguf";
  }
};

TEST_P(VocabularyReferenceTest, VocabularyTestFile) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const std::string path = PathIn(data);
  const auto tokenizer = LoadFrom(path);
  const std::vector<std::string> texts = SplitAt(ReadAll(path + ".inp"), "\n__ggml_vocab_test__\n");
  const std::vector<std::string> lines = SplitAt(ReadAll(path + ".out"), "\n");
  ASSERT_EQ(texts.size(), 47u);
  for (size_t i = 0; i + 1 < texts.size(); ++i) {
    Ids want;
    for (const std::string& number : SplitAt(lines[i], " ")) {
      if (!number.empty()) want.push_back(std::stoi(number));
    }
    EXPECT_EQ(*tokenizer->Encode(texts[i], kPlain), want) << "case " << i;
    EXPECT_EQ(*tokenizer->Decode(want), texts[i]) << "case " << i;
  }
}

TEST_P(VocabularyReferenceTest, ExtraTexts) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const auto tokenizer = LoadFrom(PathIn(data));
  const nlohmann::json texts = ReadJson(data + "/tokenizers/extra_texts.json");
  const nlohmann::json ids = ReadJson(data + "/tokenizers/extra_ids_" + GetParam() + ".json");
  ASSERT_EQ(texts.size(), ids.size());
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto text = texts[i].get<std::string>();
    EXPECT_EQ(*tokenizer->Encode(text, kPlain), ids[i].get<Ids>()) << "text " << i;
    EXPECT_EQ(*tokenizer->Decode(ids[i].get<Ids>()), text) << "text " << i;
    std::string streamed;
    StreamDecoder stream(*tokenizer);
    for (const int32_t id : ids[i].get<Ids>()) {
      const std::string piece = *stream.DecodePiece(id);
      EXPECT_EQ(CompleteUtf8Prefix(piece), piece.size()) << "text " << i;
      streamed += piece;
    }
    EXPECT_TRUE((streamed + stream.Flush()).ends_with(text)) << "text " << i;
  }
}

TEST_P(VocabularyReferenceTest, ChatStringsWithControlTokens) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const nlohmann::json all = ReadJson(data + "/tokenizers/chat_special.json");
  if (!all.contains(GetParam())) GTEST_SKIP() << "this vocabulary has no chat";
  const auto tokenizer = LoadFrom(PathIn(data));
  ASSERT_FALSE(all.at(GetParam()).empty());
  for (const nlohmann::json& test : all.at(GetParam())) {
    const EncodeOptions options = {.add_special = test.at("add_special").get<bool>(),
                                   .parse_special = test.at("parse_special").get<bool>()};
    EXPECT_EQ(*tokenizer->Encode(test.at("text").get<std::string>(), options),
              test.at("ids").get<Ids>())
        << test.at("text");
  }
}

// 1.1 MB: a quadratic algorithm takes minutes.
TEST_P(VocabularyReferenceTest, AMegabyteEncodesInSecondsAndComesBack) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const auto tokenizer = LoadFrom(PathIn(data));
  const std::string text = ReadAll(data + "/datasets/tinyshakespeare.txt");
  const auto begin = std::chrono::steady_clock::now();
  const absl::StatusOr<Ids> ids = tokenizer->Encode(text);
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - begin;
  ASSERT_TRUE(ids.ok());
  EXPECT_EQ(*tokenizer->Decode(*ids), text);
  RecordProperty("milliseconds", static_cast<int>(took.count() * 1000));
  EXPECT_LT(took.count(), 20.0);  // under a second here; the room is for sanitizers
}

INSTANTIATE_TEST_SUITE_P(All, VocabularyReferenceTest,
                         ::testing::Values("gpt-2", "llama-bpe", "llama-spm", "qwen2"),
                         [](const auto& test) {
                           std::string name = test.param;
                           std::erase(name, '-');
                           return name;
                         });

TEST(ModelReferenceTest, PromptsAndGreedyTextOfTheModels) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  int checked = 0;
  for (const nlohmann::json& model : ReadJson(data + "/reference/logits.json")) {
    const auto tokenizer = LoadFrom(data + "/" + model.at("model").get<std::string>());
    for (const nlohmann::json& prompt : model.at("prompts")) {
      EXPECT_EQ(*tokenizer->Encode(prompt.at("text").get<std::string>()),
                prompt.at("ids").get<Ids>())
          << model.at("model") << prompt.at("text");
      ++checked;
    }
    if (!model.contains("greedy48")) continue;
    const Ids ids = model.at("greedy48").at("ids").get<Ids>();
    const auto text = model.at("greedy48").at("text").get<std::string>();
    std::string streamed;
    StreamDecoder stream(*tokenizer);
    for (const int32_t id : ids) streamed += *stream.DecodePiece(id);
    streamed += stream.Flush();
    EXPECT_EQ(streamed, text) << model.at("model");
  }
  EXPECT_GT(checked, 10);
}

}  // namespace
}  // namespace choir::engine
