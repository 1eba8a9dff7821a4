#include "engine/gguf/gguf_writer.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/gguf/gguf_file.h"
#include "tests/support/temp_dir.h"
#include "tests/support/test_data.h"

namespace choir::engine {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

TEST(GgufWriterTest, WhatIsWrittenIsRead) {
  GgufWriter writer;
  writer.SetU32("u32", 1);
  writer.SetU64("u64", uint64_t{1} << 40);
  writer.SetI32("i32", -3);
  writer.SetF32("f32", 0.5f);
  writer.SetBool("bool", true);
  writer.SetString("string", "text");
  writer.SetStringArray("strings", std::vector<std::string>{"a", "b"});
  writer.SetF32Array("floats", std::vector<float>{1.0f, 2.0f});
  writer.SetI32Array("i32s", std::vector<int32_t>{-1, 2});
  writer.SetU32Array("u32s", std::vector<uint32_t>{7});
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  const uint64_t dims[] = {3, 2};
  ASSERT_TRUE(writer.AddF32("w", dims, values).ok());
  const absl::StatusOr<std::string> bytes = writer.Serialize();
  ASSERT_TRUE(bytes.ok());
  EXPECT_EQ(bytes->size() % 32, 0u);
  const absl::StatusOr<GgufFile> file = GgufFile::Parse(AsBytes(*bytes));
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_EQ(*file->GetU32("u32"), 1u);
  EXPECT_EQ(*file->GetU64("u64"), uint64_t{1} << 40);
  EXPECT_EQ(*file->GetI32("i32"), -3);
  EXPECT_EQ(*file->GetF32("f32"), 0.5f);
  EXPECT_EQ(*file->GetBool("bool"), true);
  EXPECT_EQ(*file->GetString("string"), "text");
  EXPECT_THAT(*file->GetStringArray("strings"), ElementsAre("a", "b"));
  EXPECT_THAT(*file->GetF32Array("floats"), ElementsAre(1.0f, 2.0f));
  EXPECT_THAT(*file->GetI32Array("i32s"), ElementsAre(-1, 2));
  EXPECT_THAT(*file->GetU32Array("u32s"), ElementsAre(7u));
  const GgufTensor& tensor = file->tensors()[0];
  EXPECT_EQ(tensor.ShapeString(), "[3, 2]");
  EXPECT_EQ(AsChars(tensor.bytes), std::string_view(reinterpret_cast<const char*>(values.data()),
                                                    values.size() * sizeof(float)));
}

// Another writer's file, copied entry by entry and tensor by tensor.
TEST(GgufWriterTest, ACopyOfAModelIsByteIdentical) {
  CHOIR_TEST_DATA_OR_SKIP(data);
  const TempDir dir;
  for (const std::string name : {"stories260K-f32", "stories260K-q8_0", "bitllama3M-tq2_0"}) {
    const std::string path = data + "/models/" + name + ".gguf";
    const absl::StatusOr<GgufFile> file = GgufFile::Open(path);
    ASSERT_TRUE(file.ok());
    GgufWriter writer;
    for (const GgufEntry& entry : file->entries()) writer.SetEntry(entry);
    for (const GgufTensor& tensor : file->tensors()) {
      const std::span<const uint64_t> dims = std::span(tensor.dims).first(tensor.num_dims);
      ASSERT_TRUE(writer.AddTensor(tensor.name, tensor.type, dims, tensor.bytes).ok());
    }
    const std::string copy = dir.path() + "/copy.gguf";
    ASSERT_TRUE(writer.WriteFile(copy).ok());
    EXPECT_TRUE(*ReadFile(copy, 1 << 24) == *ReadFile(path, 1 << 24)) << name;
    EXPECT_TRUE(*writer.Serialize() == *ReadFile(path, 1 << 24)) << name;
  }
}

TEST(GgufWriterTest, AKeySetAgainKeepsItsPlace) {
  GgufWriter writer;
  writer.SetU32("a", 1);
  writer.SetU32("b", 2);
  writer.SetString("a", "new");
  const std::string bytes = *writer.Serialize();
  const absl::StatusOr<GgufFile> file = GgufFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok());
  EXPECT_EQ(file->entries()[0].key, "a");
  EXPECT_EQ(*file->GetString("a"), "new");
  EXPECT_EQ(file->entries().size(), 2u);
}

TEST(GgufWriterTest, OtherAlignmentIsWrittenAndKept) {
  GgufWriter writer(128);
  const uint64_t dims[] = {1};
  const std::vector<float> values = {1, 2};
  ASSERT_TRUE(writer.AddF32("w", dims, std::span(values).first(1)).ok());
  ASSERT_TRUE(writer.AddF32("v", dims, std::span(values).last(1)).ok());
  const std::string bytes = *writer.Serialize();
  const absl::StatusOr<GgufFile> file = GgufFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_EQ(file->alignment(), 128u);
  EXPECT_EQ(file->tensors()[1].bytes.data() - file->tensors()[0].bytes.data(), 128);
  EXPECT_FALSE(GgufWriter(48).Serialize().ok());
}

TEST(GgufWriterTest, MistakesAreInvalid) {
  GgufWriter writer;
  const uint64_t dims[] = {2};
  const std::vector<float> two = {1, 2};
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  ASSERT_TRUE(writer.AddF32("w", dims, two).ok());
  EXPECT_EQ(writer.AddF32("w", dims, two).code(), kInvalid);
  EXPECT_EQ(writer.AddF32("", dims, two).code(), kInvalid);
  EXPECT_EQ(writer.AddF32(std::string(65, 'n'), dims, two).code(), kInvalid);
  EXPECT_EQ(writer.AddF32("short", dims, std::span(two).first(1)).code(), kInvalid);
  EXPECT_EQ(writer.AddF32("no axes", {}, two).code(), kInvalid);
  const uint64_t zero[] = {2, 0};
  EXPECT_EQ(writer.AddF32("zero", zero, {}).code(), kInvalid);
  const uint64_t huge[] = {uint64_t{1} << 40, uint64_t{1} << 40};
  EXPECT_EQ(writer.AddF32("huge", huge, {}).code(), kInvalid);
  EXPECT_EQ(writer.AddTensor("type", 77, dims, std::span<const uint8_t>()).code(), kInvalid);
  EXPECT_EQ(writer.AddTensor("row", 8, dims, std::span<const uint8_t>()).code(), kInvalid);
  writer.SetU32("", 1);
  EXPECT_EQ(writer.Serialize().status().code(), kInvalid);
}

TEST(GgufWriterTest, AFailedWriteLeavesTheOldFileAndNothingElse) {
  const TempDir dir;
  const std::string path = dir.path() + "/model.gguf";
  ASSERT_TRUE(AtomicWriteFile(path, "old").ok());
  GgufWriter writer;
  const uint64_t dims[] = {2};
  ASSERT_TRUE(writer
                  .AddTensor("w", 0, dims,
                             [](const GgufWriter::ByteSink& sink) {
                               return sink(std::vector<uint8_t>(4));  // half of it
                             })
                  .ok());
  EXPECT_THAT(writer.WriteFile(path).ToString(), HasSubstr("takes 8 bytes, its source gave 4"));
  EXPECT_EQ(*ReadFile(path, 100), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(GgufWriterTest, AFolderThatDoesNotExistIsNotFound) {
  const TempDir dir;
  EXPECT_EQ(GgufWriter().WriteFile(dir.path() + "/none/x.gguf").code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace choir::engine
