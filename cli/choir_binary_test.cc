// The real program, from outside: what it prints where, its exit codes, a run that is killed.

#include <algorithm>
#include <cmath>
#include <csignal>
#include <cstring>
#include <filesystem>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/gguf/gguf_file.h"
#include "engine/tokenizer/tokenizer.h"
#include "tests/support/child_process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"
#include <nlohmann/json.hpp>

namespace choir::cli {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome {
  int exit_code = 0;
  std::string out;
  std::string err;
};

std::vector<std::string> Command(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), CHOIR_BINARY);
  return arguments;
}

Outcome Choir(std::vector<std::string> arguments,
              const std::vector<std::string>& environment = {}) {
  ChildProcess process(Command(std::move(arguments)), environment);
  const int exit_code = process.Wait();
  return {exit_code, process.out(), process.err()};
}

std::string Contents(const std::string& path) {
  return ReadFile(path, uint64_t{64} << 20).value_or("<" + path + " is missing>");
}

class ChoirBinaryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CHOIR_TEST_DATA_OR_SKIP(dir);
    data_ = dir;
    model_ = dir + "/models/stories260K-f32.gguf";
    stories_ = dir + "/datasets/tinystories_like_generated.jsonl";
  }

  [[nodiscard]] std::string Path(const std::string& name) const {
    return temp_.path() + "/" + name;
  }

  void WriteText(const std::string& name, const std::string& text) const {
    ASSERT_TRUE(AtomicWriteFile(Path(name), text).ok());
  }

  // A JSONL file with one text that tokenises to these ids.
  void WriteDocument(const std::string& name, const std::vector<int32_t>& ids) const {
    const auto file = engine::GgufFile::Open(model_);
    ASSERT_TRUE(file.ok()) << file.status();
    const auto tokenizer = engine::LoadTokenizer(*file);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    WriteText(name, nlohmann::json{{"text", *(*tokenizer)->Decode(ids)}}.dump() + "\n");
  }

  // A short training run with these additions.
  [[nodiscard]] std::vector<std::string> Train(const std::string& output,
                                               const std::vector<std::string>& more) const {
    std::vector<std::string> arguments = {"train",    "--model",    model_,  "--data", stories_,
                                          "--output", Path(output), "--ctx", "16",     "--rank",
                                          "2",        "--backend",  "cpu"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return arguments;
  }

  TempDir temp_;
  std::string data_;
  std::string model_;
  std::string stories_;
};

TEST_F(ChoirBinaryTest, TwentyStepsOfTheReferenceThroughTheCommandLine) {
  const auto trajectory =
      nlohmann::json::parse(Contents(data_ + "/reference/lora.json"))[0]["trajectory"];
  // Text that tokenises to the reference's stream.
  WriteDocument("data.jsonl", trajectory["tokens"].get<std::vector<int32_t>>());
  const std::string init = data_ + "/reference/lora/stories260K-f32/train_init.gguf";
  const Outcome run = Choir({"train",
                             "--model",
                             model_,
                             "--data",
                             Path("data.jsonl"),
                             "--output",
                             Path("a.gguf"),
                             "--init",
                             init,
                             "--lr",
                             "1e-3",
                             "--weight-decay",
                             "0.01",
                             "--steps",
                             "20",
                             "--ctx",
                             "64",
                             "--batch",
                             "1",
                             "--packing",
                             "windows",
                             "--backend",
                             "cpu",
                             "--log-jsonl",
                             Path("log.jsonl"),
                             "--json",
                             "--quiet"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(run.err, "");
  EXPECT_EQ(nlohmann::json::parse(run.out)["steps"], 20);
  std::istringstream log(Contents(Path("log.jsonl")));
  std::string line;
  size_t step = 0;
  for (; std::getline(log, line); ++step) {
    ASSERT_LT(step, 20u);
    EXPECT_NEAR(nlohmann::json::parse(line)["loss"].get<double>(),
                trajectory["losses"][step].get<double>(), 1e-3);
  }
  EXPECT_EQ(step, 20u);
}

TEST_F(ChoirBinaryTest, KilledRunResumesToTheSameAdapter) {
#ifndef CHOIR_FAILPOINTS
  GTEST_SKIP() << "this build has no failpoints (CHOIR_FAILPOINTS)";
#endif
  const std::vector<std::string> options = {"--steps", "12", "--checkpoint-every", "3"};
  ASSERT_EQ(Choir(Train("whole.gguf", options)).exit_code, 0);
  std::vector<std::string> saved = options;
  saved.insert(saved.end(), {"--checkpoint", Path("state"), "--log-jsonl", Path("log.jsonl")});
  const Outcome killed = Choir(Train("a.gguf", saved), {"CHOIR_FAILPOINT=trainer-saved:2"});
  ASSERT_EQ(killed.exit_code, -SIGKILL) << killed.err;
  EXPECT_FALSE(std::filesystem::exists(Path("a.gguf")));

  const Outcome again = Choir(Train("a.gguf", saved));
  EXPECT_EQ(again.exit_code, 2);
  EXPECT_THAT(again.err, HasSubstr("holds a run that got to step 6"));

  saved.push_back("--resume");
  const Outcome resumed = Choir(Train("a.gguf", saved));
  ASSERT_EQ(resumed.exit_code, 0) << resumed.err;
  EXPECT_THAT(resumed.err, HasSubstr("resumed after step 6 of 12"));
  EXPECT_EQ(Contents(Path("a.gguf")), Contents(Path("whole.gguf")));
  const std::string log = Contents(Path("log.jsonl"));
  EXPECT_EQ(std::count(log.begin(), log.end(), '\n'), 12);
  EXPECT_FALSE(std::filesystem::exists(Path("state")));
}

TEST_F(ChoirBinaryTest, InterruptSavesTheCheckpointAndExits130) {
  ChildProcess process(Command(Train("a.gguf", {"--steps", "1000000", "--checkpoint", Path("state"),
                                                "--log-jsonl", Path("log.jsonl")})));
  // The first line of the log says that training has begun.
  while (!std::filesystem::exists(Path("log.jsonl")) ||
         std::filesystem::file_size(Path("log.jsonl")) == 0) {
    std::this_thread::yield();
  }
  process.Signal(SIGINT);
  EXPECT_EQ(process.Wait(), 130);
  EXPECT_THAT(process.err(), HasSubstr("choir: interrupted: training was stopped after step"));
  EXPECT_TRUE(std::filesystem::exists(Path("state")));
  EXPECT_FALSE(std::filesystem::exists(Path("a.gguf")));
}

TEST_F(ChoirBinaryTest, DamagedOrForeignCheckpointIsAnError) {
  WriteText("state", "CHOIRTRN and then rubbish");
  const Outcome damaged =
      Choir(Train("a.gguf", {"--steps", "2", "--checkpoint", Path("state"), "--resume"}));
  EXPECT_EQ(damaged.exit_code, 3);
  EXPECT_THAT(damaged.err, HasSubstr("choir: error: checkpoint: "));
  EXPECT_EQ(Contents(Path("state")), "CHOIRTRN and then rubbish");
}

TEST_F(ChoirBinaryTest, EvalPrintsTheReferenceNllAsJson) {
  const auto record = nlohmann::json::parse(Contents(data_ + "/reference/logits.json"))[0];
  auto ids = record["nll_text"]["ids"].get<std::vector<int32_t>>();
  ids.erase(ids.begin());  // BOS
  WriteDocument("story.jsonl", ids);
  const Outcome run =
      Choir({"eval", "--model", model_, "--data", Path("story.jsonl"), "--json", "--quiet"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = nlohmann::json::parse(run.out);
  EXPECT_EQ(json["tokens"], ids.size());
  EXPECT_NEAR(json["mean_nll"].get<double>(), record["nll_text"]["mean_nll"].get<double>(), 1e-3);
  EXPECT_NEAR(json["perplexity"].get<double>(), std::exp(json["mean_nll"].get<double>()), 1e-9);
}

TEST_F(ChoirBinaryTest, TokensAreTheReferenceIds) {
  const auto prompt =
      nlohmann::json::parse(Contents(data_ + "/reference/logits.json"))[0]["prompts"][1];
  const std::string text = prompt["text"];
  const Outcome run = Choir({"inspect", "tokens", "--model", model_, "--text", text, "--special"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(nlohmann::json::parse(run.out), prompt["ids"]);
}

TEST_F(ChoirBinaryTest, GenerateContinuesAsTheReference) {
  const auto greedy =
      nlohmann::json::parse(Contents(data_ + "/reference/logits.json"))[0]["greedy48"];
  const Outcome run =
      Choir({"generate", "--model", model_, "--prompt", "Once upon a time", "-n", "48", "--quiet"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_EQ(" " + run.out, greedy["text"].get<std::string>() + "\n");
  const Outcome json = Choir({"generate", "--model", model_, "--prompt", "Once upon a time", "-n",
                              "48", "--json", "--quiet"});
  EXPECT_EQ(nlohmann::json::parse(json.out)["ids"], greedy["ids"]);
}

TEST_F(ChoirBinaryTest, LogitsFileHasTheReferenceShape) {
  const Outcome run = Choir({"inspect", "logits", "--model", model_, "--ids", "1,403,407,261,378",
                             "--output", Path("l.f32"), "--backend", "cpu"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const std::string ours = Contents(Path("l.f32"));
  const std::string theirs = Contents(data_ + "/reference/logits/stories260K-f32.p0.f32");
  ASSERT_EQ(ours.size(), theirs.size());
  for (size_t i = 0; i < ours.size(); i += sizeof(float)) {
    float x = 0;
    float y = 0;
    std::memcpy(&x, ours.data() + i, sizeof(x));
    std::memcpy(&y, theirs.data() + i, sizeof(y));
    ASSERT_NEAR(x, y, 1e-3);
  }
}

TEST_F(ChoirBinaryTest, ModelQuantizeReportsEveryTensorAndItsFileGenerates) {
  const Outcome run =
      Choir({"model", "quantize", model_, Path("q.gguf"), "--type", "q5_1", "--json", "--quiet"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const nlohmann::json report = nlohmann::json::parse(run.out);
  EXPECT_LT(report["to_bytes"], report["from_bytes"]);
  bool short_rows = false;
  for (const auto& tensor : report["tensors"]) {
    if (tensor["name"] != "blk.0.ffn_down.weight") continue;
    short_rows = tensor["to"] == "F16";  // 172 columns are no whole number of blocks of 32
  }
  EXPECT_TRUE(short_rows);
  const Outcome text = Choir({"generate", "--model", Path("q.gguf"), "--prompt", "Once upon a time",
                              "--max-tokens", "4", "--backend", "cpu"});
  EXPECT_EQ(text.exit_code, 0) << text.err;
}

TEST_F(ChoirBinaryTest, PlanSaysMemoryStepsAndUpload) {
  const Outcome run = Choir({"plan", "--model", model_, "--data", stories_, "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const auto json = nlohmann::json::parse(run.out);
  EXPECT_GT(json["memory_bytes"].get<int64_t>(), 1 << 20);
  EXPECT_GT(json["steps"].get<int64_t>(), 0);
  EXPECT_EQ(json["upload_bytes"].get<int64_t>(), 4 * json["trained_values"].get<int64_t>());
}

// What each bad input must say and give.
TEST_F(ChoirBinaryTest, DataCheckTellsWhatIsThereAndWhatIsNot) {
  WriteText("a.jsonl",
            "{\"text\": \"Once upon a time\"}\nnot json\n{\"text\": \"Once  upon a time\"}\n"
            "{\"prompt\": \"Why?\", \"completion\": \" Because.\"}\n"
            "{\"text\": \"Once upon a time\"}\n");
  WriteText("b.txt", "A longer text that is one example.");
  WriteText("bad.jsonl", "{}\n");
  WriteText("c.pdf", "%PDF");
  const Outcome run =
      Choir({"data", "check", temp_.path(), "--model", model_, "--ctx", "16", "--json"});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  const nlohmann::json report = nlohmann::json::parse(run.out);
  EXPECT_EQ(report["examples"], 5);
  EXPECT_EQ(report["texts"], 4);
  EXPECT_EQ(report["prompt_completions"], 1);
  EXPECT_EQ(report["exact_duplicates"], 1);
  EXPECT_EQ(report["loose_duplicates"], 2);
  EXPECT_EQ(report["unusable_lines"], 2);
  ASSERT_EQ(report["files"].size(), 3u);
  EXPECT_EQ(report["files"][0]["unusable_lines"], 1);
  EXPECT_EQ(report["files"][1]["unusable_lines"], 0);
  EXPECT_EQ(report["files"][2]["file"], Path("bad.jsonl"));
  EXPECT_EQ(report["files"][2]["examples"], 0);
  EXPECT_EQ(report["other_files"], 1);
  EXPECT_EQ(report["problems"][0]["line"], 2);
  EXPECT_EQ(report["bytes"]["max"], 34);
  EXPECT_GT(report["tokens"]["total"], 20);
  EXPECT_GT(report["packing"]["useful_tokens"], 0.5);
  const Outcome text = Choir({"data", "check", temp_.path()});
  EXPECT_EQ(text.exit_code, 0) << text.err;
  EXPECT_THAT(text.out, HasSubstr("a.jsonl:2: "));
  EXPECT_THAT(text.out, HasSubstr("c.pdf"));
  std::filesystem::create_directories(Path("empty"));
  WriteText("empty/c.jsonl", "\n");
  EXPECT_EQ(Choir({"data", "check", Path("empty")}).exit_code, 3);
  EXPECT_EQ(Choir({"data", "check", Path("nowhere")}).exit_code, 3);
}

// Losses of the first and the last step.
std::pair<double, double> LossesOf(const std::string& log) {
  std::istringstream lines(log);
  std::vector<double> losses;
  for (std::string line; std::getline(lines, line);) {
    losses.push_back(nlohmann::json::parse(line)["loss"]);
  }
  return losses.empty() ? std::pair(0.0, 0.0) : std::pair(losses.front(), losses.back());
}

TEST_F(ChoirBinaryTest, ChoicesAreCountedAgainstTheAnswers) {
  const std::string items = data_ + "/datasets/pubmedqa300/test.jsonl";
  const Outcome all = Choir({"eval", "--model", model_, "--data", items, "--choices",
                             "Yes,No,Maybe", "--json", "--quiet"});
  ASSERT_EQ(all.exit_code, 0) << all.err;
  const auto report = nlohmann::json::parse(all.out);
  EXPECT_EQ(report["items"], 30);
  EXPECT_EQ(report["majority"]["choice"], "Yes");
  EXPECT_EQ(report["majority"]["accuracy"], 0.5);
  int counted = 0;
  for (const auto& row : report["per_token"]["confusion"]) {
    for (const auto& count : row) counted += count.get<int>();
  }
  EXPECT_EQ(counted, 30);
  const Outcome missing =
      Choir({"eval", "--model", model_, "--data", items, "--choices", "yes,no"});
  EXPECT_EQ(missing.exit_code, 3);
  EXPECT_THAT(missing.err, HasSubstr("test.jsonl:2: the answer 'maybe' is none of the choices"));
  const Outcome skipped = Choir({"eval", "--model", model_, "--data", items, "--choices", "yes,no",
                                 "--skip-bad-lines", "--json"});
  ASSERT_EQ(skipped.exit_code, 0) << skipped.err;
  EXPECT_EQ(nlohmann::json::parse(skipped.out)["items"], 20);
  EXPECT_THAT(skipped.err, HasSubstr("left out 10 bad lines"));
  const Outcome alone = Choir({"eval", "--model", model_, "--data", items, "--choices", "yes"});
  EXPECT_EQ(alone.exit_code, 2);
}

TEST_F(ChoirBinaryTest, PlanShowsTheCacheOfEachType) {
  const auto bytes = [this](const std::string& type) {
    const Outcome plan = Choir({"plan", "--model", model_, "--ctx", "256", "--backend", "cpu",
                                "--kv-cache", type, "--json", "--quiet"});
    EXPECT_EQ(plan.exit_code, 0) << plan.err;
    return nlohmann::json::parse(plan.out)["generation"]["kv_cache_bytes"].get<int>();
  };
  constexpr int kNumbers = 2 * 5 * 256 * 32;  // keys and values, layers, tokens, columns
  EXPECT_EQ(bytes("f32"), 4 * kNumbers);
  EXPECT_EQ(bytes("f16"), 2 * kNumbers);
  EXPECT_EQ(bytes("q8_0"), 34 * kNumbers / 32);
}

TEST_F(ChoirBinaryTest, ConversationsTrainOnWhatTheAssistantSays) {
  WriteText("chat.jsonl",
            "{\"messages\": [{\"role\": \"user\", \"content\": \"Tell me a story of a cat.\"}, "
            "{\"role\": \"assistant\", \"content\": \"The cat sat on the mat.\"}]}\n");
  const auto train = [this](const std::string& train_on, const std::string& log) {
    return Choir({"train",
                  "--model",
                  model_,
                  "--data",
                  Path("chat.jsonl"),
                  "--chat-template",
                  "plain",
                  "--train-on",
                  train_on,
                  "--steps",
                  "30",
                  "--lr",
                  "0.01",
                  "--ctx",
                  "128",
                  "--output",
                  Path("chat.gguf"),
                  "--log-jsonl",
                  Path(log),
                  "--json",
                  "--quiet"});
  };
  const Outcome all = train("all", "all.jsonl");
  ASSERT_EQ(all.exit_code, 0) << all.err;
  const Outcome completion = train("completion", "completion.jsonl");
  ASSERT_EQ(completion.exit_code, 0) << completion.err;
  // What is learned is another part of the same tokens.
  EXPECT_EQ(nlohmann::json::parse(completion.out)["tokens"],
            nlohmann::json::parse(all.out)["tokens"]);
  const auto [first, last] = LossesOf(Contents(Path("completion.jsonl")));
  EXPECT_GT(std::abs(first - LossesOf(Contents(Path("all.jsonl"))).first), 0.01);
  EXPECT_GT(first, 1.0);
  EXPECT_LT(last, 0.3 * first);
}

struct BadInputCase {
  const char* name;
  std::vector<std::string> arguments;  // MODEL, DATA, TMP stand for paths
  int exit_code;
  const char* message;
};

TEST_F(ChoirBinaryTest, BadInputsGiveAClearErrorAndExitCode) {
  WriteText("truncated.gguf", Contents(model_).substr(0, 5000));
  WriteText("bad.jsonl", "{\"text\": \"fine\"}\n{\"text\": 5}\n");
  WriteText("empty.jsonl", "");
  const std::string t = temp_.path();
  const BadInputCase cases[] = {
      {"model missing", {"eval", "--model", t + "/none", "--data", stories_}, 3, "none"},
      {"model truncated",
       {"eval", "--model", t + "/truncated.gguf", "--data", stories_},
       3,
       "GGUF"},
      {"model no GGUF", {"eval", "--model", stories_, "--data", stories_}, 3, "GGUF"},
      {"adapter is a model",
       {"eval", "--model", model_, "--adapter", model_, "--data", stories_},
       3,
       "not a LoRA adapter"},
      {"data bad line", {"eval", "--model", model_, "--data", t + "/bad.jsonl"}, 3, "bad.jsonl:2"},
      {"data empty", {"eval", "--model", model_, "--data", t + "/empty.jsonl"}, 3, "empty.jsonl"},
      {"ids no numbers",
       {"inspect", "logits", "--model", model_, "--ids", "1,x", "--output", t + "/l"},
       2,
       "'x' is not a token id"},
      {"id too large",
       {"inspect", "logits", "--model", model_, "--ids", "512", "--output", t + "/l"},
       2,
       "512 is outside the vocabulary"},
      {"no output", {"train", "--model", model_, "--data", stories_}, 2, "--output is required"},
      {"no folder",
       {"train", "--model", model_, "--data", stories_, "--output", t + "/no/a.gguf"},
       2,
       "cannot write into the folder"},
      {"rate",
       {"train", "--model", model_, "--data", stories_, "--output", t + "/a", "--lr", "0"},
       2,
       "learning rate 0 is not a positive number"},
      {"weight type",
       {"model", "quantize", model_, t + "/q.gguf", "--type", "Q4_K_M"},
       2,
       "there is no type Q4_K_M to write"},
      {"modules", {"plan", "--model", model_, "--modules", "attn_x"}, 2, "attn_x"},
  };
  for (const BadInputCase& c : cases) {
    const Outcome run = Choir(c.arguments);
    EXPECT_EQ(run.exit_code, c.exit_code) << c.name << ": " << run.err;
    EXPECT_THAT(run.err, StartsWith("choir: error: ")) << c.name;
    EXPECT_THAT(run.err, HasSubstr(c.message)) << c.name;
    EXPECT_EQ(run.out, "") << c.name;
  }
}

}  // namespace
}  // namespace choir::cli
