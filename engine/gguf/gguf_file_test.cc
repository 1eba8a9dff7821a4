#include "engine/gguf/gguf_file.h"

#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/raw_gguf.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace choir::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

class GgufValuesTest : public ::testing::Test {
 protected:
  GgufValuesTest() {
    raw_.Head(0, 13).KeyU32("u32", 7).Key("u8", 0).U8(200).Key("i32", 5).U32(0xfffffffeu);
    raw_.Key("u64", 10).U64(uint64_t{1} << 40).Key("f32", 6).F32(1.5f);
    raw_.Key("bool", 7).U8(1).Key("string", 8).String("text");
    raw_.Key("strings", 9).U32(8).U64(3).String("a").String("").String("bc");
    raw_.Key("floats", 9).U32(6).U64(2).F32(0.5f).F32(-1.0f);
    raw_.Key("i32s", 9).U32(5).U64(2).U32(3).U32(0xffffffffu);
    raw_.Key("u8s", 9).U32(0).U64(3).U8(1).U8(2).U8(255);
    raw_.Key("none", 9).U32(8).U64(0);
    raw_.Key("f64", 12).Bytes(std::string("\0\0\0\0\0\0\xe0\x3f", 8));
    absl::StatusOr<GgufFile> file = GgufFile::Parse(AsBytes(raw_.bytes()));
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    file_ = *std::move(file);
  }
  RawGguf raw_;
  std::optional<GgufFile> file_;
};

TEST_F(GgufValuesTest, ScalarsAreReadByKind) {
  EXPECT_EQ(*file_->GetU32("u32"), 7u);
  EXPECT_EQ(*file_->GetU32("u8"), 200u);
  EXPECT_EQ(*file_->GetI32("i32"), -2);
  EXPECT_EQ(*file_->GetI64("i32"), -2);
  EXPECT_EQ(*file_->GetU64("u64"), uint64_t{1} << 40);
  EXPECT_EQ(*file_->GetF32("f32"), 1.5f);
  EXPECT_EQ(*file_->GetF32("f64"), 0.5f);
  EXPECT_EQ(*file_->GetBool("bool"), true);
  EXPECT_EQ(*file_->GetString("string"), "text");
}

TEST_F(GgufValuesTest, ArraysAreReadByKind) {
  EXPECT_THAT(*file_->GetStringArray("strings"), ElementsAre("a", "", "bc"));
  EXPECT_THAT(*file_->GetStringArray("none"), ElementsAre());
  EXPECT_THAT(*file_->GetF32Array("floats"), ElementsAre(0.5f, -1.0f));
  EXPECT_THAT(*file_->GetI32Array("i32s"), ElementsAre(3, -1));
  EXPECT_THAT(*file_->GetU32Array("u8s"), ElementsAre(1u, 2u, 255u));
}

TEST_F(GgufValuesTest, AbsentKeysTakeTheFallbackOrAreNotFound) {
  EXPECT_EQ(*file_->GetU32("x", 3u), 3u);
  EXPECT_EQ(*file_->GetF32("x", 0.25f), 0.25f);
  EXPECT_EQ(*file_->GetBool("x", false), false);
  EXPECT_EQ(*file_->GetString("x", "y"), "y");
  EXPECT_EQ(file_->GetU32("x").status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(file_->GetString("some.key").status().ToString(), HasSubstr("some.key"));
  EXPECT_EQ(file_->GetStringArray("x").status().code(), absl::StatusCode::kNotFound);
}

TEST_F(GgufValuesTest, WrongKindsAreInvalidEvenWithAFallback) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  EXPECT_EQ(file_->GetU32("string", 1u).status().code(), kInvalid);
  EXPECT_EQ(file_->GetU32("f32").status().code(), kInvalid);
  EXPECT_EQ(file_->GetU32("bool").status().code(), kInvalid);
  EXPECT_EQ(file_->GetF32("u32").status().code(), kInvalid);
  EXPECT_EQ(file_->GetBool("u32").status().code(), kInvalid);
  EXPECT_EQ(file_->GetString("strings").status().code(), kInvalid);
  EXPECT_EQ(file_->GetStringArray("string").status().code(), kInvalid);
  EXPECT_EQ(file_->GetF32Array("u8s").status().code(), kInvalid);  // vocabulary scores as u8
  EXPECT_EQ(file_->GetF32Array("strings").status().code(), kInvalid);
  EXPECT_EQ(file_->GetI32Array("floats").status().code(), kInvalid);
  EXPECT_THAT(file_->GetF32Array("u8s").status().ToString(),
              HasSubstr("u8s should be a float, but is an array of u8"));
}

TEST_F(GgufValuesTest, ValuesOutOfRangeAreInvalid) {
  EXPECT_THAT(file_->GetU32("i32").status().ToString(), HasSubstr("i32 holds -2"));
  EXPECT_FALSE(file_->GetU32("u64").ok());
  EXPECT_FALSE(file_->GetU32Array("i32s").ok());
}

TEST(GgufFileTest, MovingKeepsTheViewsValid) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  absl::StatusOr<GgufFile> file = GgufFile::Open(data + "/models/stories260K-q8_0.gguf");
  ASSERT_TRUE(file.ok());
  const uint8_t* place = file->tensors()[0].bytes.data();
  const GgufFile moved = *std::move(file);
  const GgufTensor* tensor = moved.FindTensor("token_embd.weight");
  ASSERT_NE(tensor, nullptr);
  EXPECT_EQ(tensor->bytes.data(), place);
  EXPECT_EQ(*moved.GetString("general.architecture"), "llama");
}

TEST(GgufFileTest, ShapesAreRowLengthFirst) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const absl::StatusOr<GgufFile> file = GgufFile::Open(data + "/models/stories260K-q8_0.gguf");
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_EQ(file->tensors().size(), 47u);
  const GgufTensor* tensor = *file->GetTensor("blk.0.ffn_gate.weight");
  EXPECT_EQ(tensor->ShapeString(), "[64, 172]");
  EXPECT_EQ(tensor->row_elements(), 64u);
  EXPECT_EQ(tensor->num_rows(), 172u);
  EXPECT_EQ(TensorTypeName(tensor->type), "Q8_0");
  EXPECT_EQ(tensor->bytes.size(), 172u * 64 / 32 * 34);
  EXPECT_EQ(file->GetTensor("blk.9.x").status().code(), absl::StatusCode::kNotFound);
}

TEST(GgufFileTest, EveryStoredFileIsRead) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  int files = 0;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(data)) {
    if (entry.path().extension() != ".gguf") continue;
    const absl::StatusOr<GgufFile> file = GgufFile::Open(entry.path().string());
    EXPECT_TRUE(file.ok()) << file.status().ToString();
    ++files;
  }
  EXPECT_GT(files, 20);
}

TEST(GgufFileTest, OpenNamesTheFileThatIsBad) {
  const TempDir dir;
  const std::string path = dir.path() + "/bad.gguf";
  EXPECT_EQ(GgufFile::Open(path).status().code(), absl::StatusCode::kNotFound);
  std::ofstream(path) << "GGUF and more";
  EXPECT_THAT(GgufFile::Open(path).status().ToString(), HasSubstr(path));
  EXPECT_EQ(GgufFile::Open(dir.path()).status().code(), absl::StatusCode::kInvalidArgument);
}

// Eight gigabytes that nobody wrote: reading them would take seconds and memory.
TEST(GgufFileTest, OpeningReadsNoTensorData) {
  const TempDir dir;
  const std::string path = dir.path() + "/sparse.gguf";
  RawGguf raw;
  raw.Head(1, 0).Tensor("w", {1 << 20, 2048}, 0, 0).PadTo(32);
  std::ofstream(path, std::ios::binary) << raw.bytes();
  std::error_code error;
  std::filesystem::resize_file(path, raw.bytes().size() + (uint64_t{8} << 30), error);
  if (error) GTEST_SKIP() << "this file system makes no sparse files: " << error.message();
  const absl::StatusOr<GgufFile> file = GgufFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_EQ(file->tensors()[0].bytes.size(), uint64_t{8} << 30);
  EXPECT_EQ(file->tensors()[0].bytes.back(), 0);
}

}  // namespace
}  // namespace choir::engine
