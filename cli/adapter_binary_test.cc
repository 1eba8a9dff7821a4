// Adapters through the real program: converted, merged, stacked.

#include <algorithm>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/child_process.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"
#include <nlohmann/json.hpp>

namespace choir::cli {
namespace {

using ::testing::HasSubstr;
using Words = std::vector<std::string>;

struct Outcome {
  int exit_code = 0;
  std::string out;
  std::string err;
};

Outcome Choir(Words arguments) {
  arguments.insert(arguments.begin(), CHOIR_BINARY);
  ChildProcess process(arguments, {});
  const int exit_code = process.Wait();
  return {exit_code, process.out(), process.err()};
}

std::string Contents(const std::string& path) {
  return ReadFile(path, uint64_t{64} << 20).value_or("<" + path + " is missing>");
}

class AdapterBinaryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    CHOIR_TEST_DATA_OR_SKIP(dir);
    model_ = dir + "/models/stories260K-f32.gguf";
    folder_ = dir + "/reference/lora/stories260K-f32";
    stories_ = dir + "/datasets/tinystories_like_generated.jsonl";
    const auto record = nlohmann::json::parse(Contents(dir + "/reference/lora.json"))[0];
    for (const int id : record["ids"]) ids_ += (ids_.empty() ? "" : ",") + std::to_string(id);
  }

  [[nodiscard]] std::string Path(const std::string& name) const {
    return temp_.path() + "/" + name;
  }

  // The largest difference between the logits of this model with these adapters and the
  // reference's with the stored adapter.
  float DifferenceFromReference(const std::string& model, const Words& adapters) {
    Words arguments = {"inspect", "logits",    "--model", model,      "--ids",
                       ids_,      "--backend", "cpu",     "--output", Path("l.f32")};
    for (const std::string& adapter : adapters) {
      arguments.insert(arguments.end(), {"--adapter", adapter});
    }
    const Outcome run = Choir(arguments);
    EXPECT_EQ(run.exit_code, 0) << run.err;
    const std::string ours = Contents(Path("l.f32"));
    const std::string theirs = Contents(folder_ + "/logits.f32");
    EXPECT_EQ(ours.size(), theirs.size());
    float largest = 0;
    for (size_t i = 0; i < std::min(ours.size(), theirs.size()); i += sizeof(float)) {
      float x = 0;
      float y = 0;
      std::memcpy(&x, ours.data() + i, sizeof(x));
      std::memcpy(&y, theirs.data() + i, sizeof(y));
      largest = std::max(largest, std::abs(x - y));
    }
    return largest;
  }

  TempDir temp_;
  std::string model_;
  std::string folder_;
  std::string stories_;
  std::string ids_;
};

// Of logits in f32 against the reference's f64.
constexpr float kTolerance = 1e-3f;

TEST_F(AdapterBinaryTest, APeftFolderServesAsAnAdapter) {
  EXPECT_LT(DifferenceFromReference(model_, {folder_ + "/peft"}), kTolerance);
}

TEST_F(AdapterBinaryTest, ConvertsBothWays) {
  const auto convert = [&](const std::string& from, const std::string& to) {
    return Choir(
        {"adapter", "convert", "--model", model_, "--adapter", from, "--output", to, "--json"});
  };
  const Outcome to_peft = convert(folder_ + "/adapter.gguf", Path("peft"));
  ASSERT_EQ(to_peft.exit_code, 0) << to_peft.err;
  EXPECT_EQ(nlohmann::json::parse(to_peft.out)["adapted_layers"], 35);
  ASSERT_EQ(convert(Path("peft"), Path("a.gguf")).exit_code, 0);
  ASSERT_EQ(convert(folder_ + "/peft", Path("b.gguf")).exit_code, 0);
  EXPECT_EQ(Contents(Path("a.gguf")), Contents(Path("b.gguf")));
  EXPECT_LT(DifferenceFromReference(model_, {Path("a.gguf")}), kTolerance);
}

TEST_F(AdapterBinaryTest, AMergedModelIsTheModelWithItsAdapter) {
  const Outcome run = Choir({"adapter", "merge", "--model", model_, "--adapter",
                             folder_ + "/adapter.gguf", "--output", Path("merged.gguf")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_LT(DifferenceFromReference(Path("merged.gguf"), {}), kTolerance);
}

TEST_F(AdapterBinaryTest, WeightedAdaptersAddUp) {
  const std::string gguf = folder_ + "/adapter.gguf";
  EXPECT_LT(DifferenceFromReference(model_, {gguf + "=1.5", folder_ + "/peft=-0.5"}), kTolerance);
  EXPECT_GT(DifferenceFromReference(model_, {gguf + "=0.5"}), 0.1f);
  const Outcome run = Choir({"adapter", "merge", "--model", model_, "--adapter", gguf + "=0.25",
                             "--scale", "4", "--output", Path("merged.gguf")});
  ASSERT_EQ(run.exit_code, 0) << run.err;
  EXPECT_LT(DifferenceFromReference(Path("merged.gguf"), {}), kTolerance);
}

TEST_F(AdapterBinaryTest, TrainingGoesOnFromAPeftFolder) {
  const Outcome run =
      Choir({"train", "--model", model_, "--data", stories_, "--init", folder_ + "/peft", "--steps",
             "1", "--ctx", "16", "--backend", "cpu", "--output", Path("a.gguf")});
  EXPECT_EQ(run.exit_code, 0) << run.err;
  const Outcome other_rank =
      Choir({"train", "--model", model_, "--data", stories_, "--init", folder_ + "/peft", "--rank",
             "8", "--steps", "1", "--output", Path("b.gguf")});
  EXPECT_EQ(other_rank.exit_code, 2);
  EXPECT_THAT(other_rank.err, HasSubstr("--rank 8 does not match"));
}

TEST_F(AdapterBinaryTest, BadAdaptersAndOutputsGiveAClearError) {
  ASSERT_TRUE(std::filesystem::create_directory(Path("half")));
  std::filesystem::copy(folder_ + "/peft/adapter_config.json", Path("half"));
  const std::string whole = Contents(folder_ + "/peft/adapter_model.safetensors");
  ASSERT_TRUE(
      AtomicWriteFile(Path("half") + "/adapter_model.safetensors", whole.substr(0, 20000)).ok());
  ASSERT_TRUE(std::filesystem::create_directory(Path("empty")));
  const std::string gguf = folder_ + "/adapter.gguf";
  const struct {
    Words arguments;
    int exit_code;
    const char* message;
  } cases[] = {
      {{"eval", "--data", stories_, "--adapter", Path("half")}, 3, "outside the"},
      {{"eval", "--data", stories_, "--adapter", Path("empty")}, 3, "adapter_config.json"},
      {{"eval", "--data", stories_, "--adapter", gguf + "=x"}, 3, "adapter.gguf=x"},
      {{"adapter", "convert", "--adapter", gguf, "--output", gguf}, 2, "is a file"},
      {{"adapter", "convert", "--adapter", folder_ + "/peft", "--output", Path("empty")},
       2,
       "is a folder"},
      {{"adapter", "merge", "--adapter", gguf, "--output", model_}, 2, "base model itself"},
      {{"adapter", "merge", "--adapter", gguf, "--output", Path("m"), "--type", "F99"}, 2, "F99"},
  };
  for (const auto& c : cases) {
    Words arguments = c.arguments;
    arguments.insert(arguments.end(), {"--model", model_});
    const Outcome run = Choir(arguments);
    EXPECT_EQ(run.exit_code, c.exit_code) << c.message << ": " << run.err;
    EXPECT_THAT(run.err, HasSubstr(c.message));
  }
}

}  // namespace
}  // namespace choir::cli
