// The families' documented formats, who is in the loss, and the tokens of real vocabularies.

#include "engine/chat/chat_template.h"

#include <optional>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/gguf/gguf_writer.h"
#include "tests/support/test_data.h"
#include "tests/support/vocabulary_builder.h"
#include <nlohmann/json.hpp>

namespace choir::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::ElementsAreArray;
using ::testing::HasSubstr;
using Messages = std::vector<ChatMessage>;

// The parts of published templates that tell the families apart.
constexpr std::string_view kLlama3Jinja =
    "{% for message in messages %}{% set content = '<|start_header_id|>' + message['role'] + "
    "'<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' %}{{ content }}"
    "{% endfor %}";
constexpr std::string_view kLlama31Jinja =
    "{{- \"<|start_header_id|>system<|end_header_id|>\\n\\n\" }}"
    "{{- \"Cutting Knowledge Date: December 2023\\n\" }}{{- \"<|eot_id|>\" }}";
constexpr std::string_view kQwen25Jinja =
    "{%- if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\\n' + "
    "messages[0]['content'] + '<|im_end|>\\n' }}{%- else %}{{- '<|im_start|>system\\nYou are "
    "Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\\n' }}{%- endif %}";
constexpr std::string_view kQwen3Jinja =
    "{%- set reasoning_content = '' %}{{- '<|im_start|>' + message.role + '\\n<think>\\n' + "
    "reasoning_content.strip('\\n') + '\\n</think>\\n\\n' + content }}{{- '<|im_end|>\\n' }}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}";
constexpr std::string_view kQwen3ThinkingJinja =
    "{%- set reasoning_content = '' %}{{- '\\n<think>\\n' + '<|im_end|>\\n' }}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n<think>\\n' }}{%- endif %}";
constexpr std::string_view kGemma3Jinja =
    "{{ bos_token }}{%- set first_user_prefix = messages[0]['content'] + '\\n\\n' -%}"
    "{{ '<start_of_turn>' + role + '\\n' + first_user_prefix }}{{ '<end_of_turn>\\n' }}";
constexpr std::string_view kGemma2Jinja =
    "{{ raise_exception('System role not supported') }}{{ '<start_of_turn>' }}"
    "{{ '<end_of_turn>\\n' }}";
constexpr std::string_view kLlama2Jinja =
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}";
constexpr std::string_view kMistralJinja =
    "{{ bos_token }}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{{ message['content'] + eos_token + ' ' }}";
constexpr std::string_view kBitnetJinja =
    "{% set content = message['role'] | capitalize + ': '+ message['content'] | trim + "
    "'<|eot_id|>' %}{% if add_generation_prompt %}{{ 'Assistant: ' }}{% endif %}";

// All control tokens of all families, in one vocabulary.
VocabularyBuilder AllTokens() {
  VocabularyBuilder builder = VocabularyBuilder::ByteLevel("qwen2");
  for (const char* token :
       {"<|begin_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>",
        "<|im_start|>", "<|im_end|>", "<bos>", "<start_of_turn>", "<end_of_turn>", "<s>", "</s>"}) {
    builder.Add(token, 0.0f, 3);
  }
  return builder;
}

struct Chosen {
  std::string bytes;
  std::optional<GgufFile> file;
  std::unique_ptr<Tokenizer> tokenizer;
};

std::unique_ptr<Chosen> Open(const VocabularyBuilder& builder, std::string_view jinja) {
  VocabularyBuilder with_template = builder;
  with_template.chat_template = jinja;
  auto out = std::make_unique<Chosen>();
  out->bytes = with_template.Build();
  out->file = *GgufFile::Parse(AsBytes(out->bytes));
  out->tokenizer = *LoadTokenizer(*out->file);
  return out;
}

ChatTemplate Choose(std::string_view jinja, std::string_view family = "auto") {
  const auto model = Open(AllTokens(), jinja);
  absl::StatusOr<ChatTemplate> chosen =
      ChatTemplate::Choose(*model->file, *model->tokenizer, family);
  EXPECT_TRUE(chosen.ok()) << chosen.status().ToString();
  return *std::move(chosen);
}

std::string TextOf(const absl::StatusOr<std::vector<ChatSpan>>& spans) {
  if (!spans.ok()) return spans.status().ToString();
  std::string out;
  for (const ChatSpan& span : *spans) out += span.text;
  return out;
}

// What the assistant is trained to write.
std::string LossTextOf(const absl::StatusOr<std::vector<ChatSpan>>& spans) {
  std::string out;
  for (const ChatSpan& span : *spans) {
    if (span.in_loss) out += span.text;
  }
  return out;
}

Messages Talk() {
  return {{"system", "Be brief."}, {"user", " Hi "}, {"assistant", "Hello."}, {"user", "Bye"}};
}

Messages TalkWithoutSystem() {
  return {{"user", "Hi"}, {"assistant", "Hello."}, {"user", "Bye"}, {"assistant", "See you."}};
}

TEST(ChatTemplateTest, Llama3) {
  const ChatTemplate chat = Choose(kLlama3Jinja);
  EXPECT_EQ(chat.family(), "llama3");
  EXPECT_EQ(TextOf(chat.Prompt(Talk())),
            "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\nHello.<|eot_id|>"
            "<|start_header_id|>user<|end_header_id|>\n\nBye<|eot_id|>"
            "<|start_header_id|>assistant<|end_header_id|>\n\n");
  EXPECT_EQ(LossTextOf(chat.Conversation(TalkWithoutSystem())),
            "Hello.<|eot_id|>See you.<|eot_id|>");
}

TEST(ChatTemplateTest, Llama31OpensWithItsDates) {
  const ChatTemplate chat = Choose(kLlama31Jinja);
  const std::string dates =
      "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\n"
      "Cutting Knowledge Date: December 2023\nToday Date: 26 Jul 2024\n\n";
  EXPECT_EQ(TextOf(chat.Conversation(Messages{{"user", "Hi"}})),
            dates + "<|eot_id|><|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>");
  EXPECT_EQ(TextOf(chat.Conversation(Messages{{"system", "S"}})), dates + "S<|eot_id|>");
}

TEST(ChatTemplateTest, QwenBringsItsOwnSystemMessage) {
  const ChatTemplate chat = Choose(kQwen25Jinja);
  EXPECT_EQ(chat.family(), "chatml");
  EXPECT_EQ(TextOf(chat.Prompt(Messages{{"user", "Hi"}})),
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful "
            "assistant.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
  EXPECT_EQ(TextOf(chat.Conversation(Talk())),
            "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n Hi <|im_end|>\n"
            "<|im_start|>assistant\nHello.<|im_end|>\n<|im_start|>user\nBye<|im_end|>\n");
  EXPECT_EQ(LossTextOf(chat.Conversation(TalkWithoutSystem())),
            "Hello.<|im_end|>See you.<|im_end|>");
}

TEST(ChatTemplateTest, Qwen3KeepsTheThinkingOfTheLastTurnOnly) {
  const ChatTemplate chat = Choose(kQwen3Jinja);
  const auto spans = chat.Conversation(Messages{{"user", "1+1?"},
                                                {"assistant", "<think>\nEasy.\n</think>\n\n2"},
                                                {"user", "2+2?"},
                                                {"assistant", "<think>Sum.</think>4"}});
  EXPECT_EQ(TextOf(spans),
            "<|im_start|>user\n1+1?<|im_end|>\n<|im_start|>assistant\n2<|im_end|>\n"
            "<|im_start|>user\n2+2?<|im_end|>\n<|im_start|>assistant\n<think>\nSum.\n</think>\n\n4"
            "<|im_end|>\n");
  EXPECT_EQ(LossTextOf(spans), "2<|im_end|><think>\nSum.\n</think>\n\n4<|im_end|>");
}

TEST(ChatTemplateTest, Qwen3sEmptyThoughtIsNotInTheLoss) {
  const ChatTemplate chat = Choose(kQwen3Jinja);
  const auto spans = chat.Conversation(Messages{{"user", "Hi"}, {"assistant", "Yes."}});
  EXPECT_EQ(TextOf(spans),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\nYes."
            "<|im_end|>\n");
  EXPECT_EQ(LossTextOf(spans), "Yes.<|im_end|>");
  // Which is what a prompt says that asks for no thinking.
  const Messages question = {{"user", "Hi"}};
  EXPECT_EQ(TextOf(chat.Prompt(question, false)) + "Yes.<|im_end|>\n", TextOf(spans));
  EXPECT_EQ(TextOf(chat.Prompt(question)),
            "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n");
}

TEST(ChatTemplateTest, AModelThatAlwaysThinksIsPromptedTo) {
  const ChatTemplate chat = Choose(kQwen3ThinkingJinja);
  EXPECT_THAT(TextOf(chat.Prompt(Messages{{"user", "Hi"}})),
              ::testing::EndsWith("<|im_start|>assistant\n<think>\n"));
  EXPECT_EQ(LossTextOf(chat.Conversation(
                Messages{{"user", "Hi"}, {"assistant", "<think>\nA\n</think>\n\nB"}})),
            "A\n</think>\n\nB<|im_end|>");
}

TEST(ChatTemplateTest, GemmaPutsTheSystemsTextIntoTheFirstTurn) {
  const ChatTemplate chat = Choose(kGemma3Jinja);
  EXPECT_EQ(chat.family(), "gemma");
  EXPECT_EQ(TextOf(chat.Prompt(Talk())),
            "<bos><start_of_turn>user\nBe brief.\n\nHi<end_of_turn>\n<start_of_turn>model\nHello."
            "<end_of_turn>\n<start_of_turn>user\nBye<end_of_turn>\n<start_of_turn>model\n");
  EXPECT_EQ(LossTextOf(chat.Conversation(TalkWithoutSystem())),
            "Hello.<end_of_turn>See you.<end_of_turn>");
  EXPECT_THAT(TextOf(Choose(kGemma2Jinja).Prompt(Talk())), HasSubstr("no system message"));
}

TEST(ChatTemplateTest, Llama2) {
  const ChatTemplate chat = Choose(kLlama2Jinja);
  EXPECT_EQ(chat.family(), "llama2");
  EXPECT_EQ(
      TextOf(chat.Prompt(Talk())),
      "<s>[INST] <<SYS>>\nBe brief.\n<</SYS>>\n\nHi [/INST] Hello. </s><s>[INST] Bye [/INST]");
  EXPECT_EQ(LossTextOf(chat.Conversation(TalkWithoutSystem())), " Hello. </s> See you. </s>");
}

TEST(ChatTemplateTest, Mistral) {
  const ChatTemplate chat = Choose(kMistralJinja);
  EXPECT_EQ(chat.family(), "mistral");
  EXPECT_EQ(TextOf(chat.Conversation(TalkWithoutSystem())),
            "<s>[INST] Hi [/INST]Hello.</s> [INST] Bye [/INST]See you.</s> ");
}

TEST(ChatTemplateTest, Bitnet) {
  const ChatTemplate chat = Choose(kBitnetJinja);
  EXPECT_EQ(chat.family(), "bitnet");
  EXPECT_EQ(TextOf(chat.Prompt(Talk())),
            "System: Be brief.<|eot_id|>User: Hi<|eot_id|>Assistant: Hello.<|eot_id|>"
            "User: Bye<|eot_id|>Assistant:");
}

TEST(ChatTemplateTest, PlainMustBeAskedForByName) {
  const ChatTemplate chat = Choose("", "plain");
  EXPECT_EQ(TextOf(chat.Prompt(Messages{{"user", "Hi"}})), "User: Hi\n###\nAssistant:");
  EXPECT_EQ(LossTextOf(chat.Conversation(TalkWithoutSystem())), " Hello.\n###\n See you.\n###\n");
  EXPECT_THAT(chat.StopStrings(), ElementsAre("\n###\n", "\nUser:"));
}

TEST(ChatTemplateTest, ContentIsNeverMarkup) {
  for (const std::string& family : ChatFamilyNames()) {
    if (family == "auto") continue;
    const auto spans =
        Choose("", family)
            .Conversation(Messages{{"user", "<|eot_id|>X"}, {"assistant", "<|im_end|>X"}});
    ASSERT_TRUE(spans.ok()) << family;
    for (const ChatSpan& span : *spans) {
      EXPECT_EQ(span.markup && span.text.find('X') != std::string::npos, false) << family;
    }
  }
}

TEST(ChatTemplateTest, BadConversationsAreInvalid) {
  const ChatTemplate chat = Choose(kGemma3Jinja);
  EXPECT_FALSE(chat.Conversation({}).ok());
  EXPECT_THAT(TextOf(chat.Conversation(Messages{{"tool", "x"}})), HasSubstr("message 1"));
  EXPECT_THAT(TextOf(chat.Conversation(Messages{{"user", "a"}, {"user", "b"}})),
              HasSubstr("message 2 is by \"user\""));
  EXPECT_FALSE(chat.Conversation(Messages{{"system", "a"}}).ok());
  EXPECT_FALSE(chat.Prompt(TalkWithoutSystem()).ok());
}

TEST(ChatTemplateTest, UnknownOrMissingTemplatesSayWhatToDo) {
  const auto status_of = [](std::string_view jinja, std::string_view family,
                            const VocabularyBuilder& builder) {
    const auto model = Open(builder, jinja);
    return ChatTemplate::Choose(*model->file, *model->tokenizer, family).status();
  };
  const absl::Status none = status_of("", "auto", AllTokens());
  EXPECT_EQ(none.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(none.ToString(), HasSubstr("llama3, bitnet, chatml"));
  const absl::Status unknown = status_of("<|im_start|><|im_sep|><|im_end|>", "auto", AllTokens());
  EXPECT_EQ(unknown.code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(status_of("", "phi", AllTokens()).code(), absl::StatusCode::kInvalidArgument);
  const absl::Status lacking =
      status_of(kQwen3Jinja, "auto", VocabularyBuilder::ByteLevel("qwen2"));
  EXPECT_EQ(lacking.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(lacking.ToString(), HasSubstr("<|im_start|>"));
}

TEST(ChatFormatterTest, ItsErrorComesWithTheFirstConversation) {
  const auto model = Open(AllTokens(), "");
  TokenizeOptions options;
  options.chat_formatter = MakeChatFormatter(*model->file, *model->tokenizer);
  EXPECT_TRUE(TokenizeExample({.text = "a"}, *model->tokenizer, options).ok());
  Example chat;
  chat.form = Example::Form::kMessages;
  chat.messages = TalkWithoutSystem();
  EXPECT_EQ(TokenizeExample(chat, *model->tokenizer, options).status().code(),
            absl::StatusCode::kNotFound);
}

// On real vocabularies, span by span gives the tokens of the whole text.
class ChatTokensTest : public ::testing::TestWithParam<std::pair<const char*, const char*>> {};

TEST_P(ChatTokensTest, AreThoseOfTheWholeText) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const auto [vocabulary, family] = GetParam();
  const auto file = GgufFile::Open(data + "/tokenizers/ggml-vocab-" + vocabulary + ".gguf");
  ASSERT_TRUE(file.ok());
  const auto tokenizer = *LoadTokenizer(*file);
  const auto chat = ChatTemplate::Choose(*file, *tokenizer, family);
  ASSERT_TRUE(chat.ok()) << chat.status().ToString();
  const Messages messages = {{"user", "Hi, how are you?\nFine?"},
                             {"assistant", "Very (well).\n\n- one\n- 2"},
                             {"user", "\u00c9t\u00e9 1234"},
                             {"assistant", "See you."},
                             {"user", "Bye"}};
  const auto spans = chat->Prompt(messages);
  ASSERT_TRUE(spans.ok());
  const auto ids = TokenizeChat(*spans, *tokenizer);
  ASSERT_TRUE(ids.ok());
  const bool writes_bos = tokenizer->special().add_bos && family != std::string_view("bitnet");
  EXPECT_EQ(*ids,
            *tokenizer->Encode(TextOf(spans), {.add_special = !writes_bos, .parse_special = true}));
}

INSTANTIATE_TEST_SUITE_P(All, ChatTokensTest,
                         ::testing::Values(std::pair("llama-bpe", "llama3"),
                                           std::pair("llama-bpe", "bitnet"),
                                           std::pair("qwen2", "chatml"),
                                           std::pair("llama-spm", "llama2"),
                                           std::pair("llama-spm", "mistral")),
                         [](const auto& test) { return std::string(test.param.second); });

// The chat strings of the test data, written by the templates; one is the end of a conversation.
TEST(ChatReferenceTest, StoredChatStrings) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const auto json =
      nlohmann::json::parse(*ReadFile(data + "/tokenizers/chat_special.json", 1 << 20));
  struct Case {
    const char* vocabulary;
    const char* family;
    std::string_view jinja;
    Messages messages;
    bool prompt;
  };
  const Case cases[] = {
      {"qwen2",
       "chatml",
       kQwen3Jinja,
       {{"system", "You are a helpful assistant."}, {"user", "Does vitamin D prevent fractures?"}},
       true},
      {"qwen2", "chatml", kQwen3Jinja, {{"user", "?"}, {"assistant", "Yes."}}, false},
      {"llama-bpe", "llama3", kLlama3Jinja, {{"user", "Hello, how are you?"}}, true},
      {"llama-spm",
       "mistral",
       kMistralJinja,
       {{"user", "Hello"}, {"assistant", " Hi there."}},
       false},
  };
  for (const Case& test : cases) {
    const auto file = GgufFile::Open(data + "/tokenizers/ggml-vocab-" + test.vocabulary + ".gguf");
    const auto tokenizer = *LoadTokenizer(*file);
    const ChatTemplate chat = Choose(test.jinja);
    auto spans = test.prompt ? *chat.Prompt(test.messages) : *chat.Conversation(test.messages);
    if (spans.back().text == " ") spans.pop_back();  // the stored string ends with </s>
    const std::string text = TextOf(spans);
    bool found = false;
    for (const nlohmann::json& stored : json.at(test.vocabulary)) {
      if (!text.ends_with(stored.at("text").get<std::string>())) continue;
      if (stored.at("add_special").get<bool>()) continue;
      found = true;
      const auto want = stored.at("ids").get<std::vector<int32_t>>();
      const std::vector<int32_t> ids = *TokenizeChat(spans, *tokenizer);
      ASSERT_GE(ids.size(), want.size());
      EXPECT_THAT(std::span(ids).last(want.size()), ElementsAreArray(want));
    }
    EXPECT_TRUE(found) << text;
  }
}

}  // namespace
}  // namespace choir::engine
