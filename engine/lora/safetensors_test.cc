#include "engine/lora/safetensors.h"

#include <cstring>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"

namespace choir::engine {
namespace {

using ::testing::HasSubstr;

// A file with this header and so many bytes of data; `length` overrides the header's stated length.
std::string FileOf(std::string_view header, size_t data_bytes, uint64_t length = 0) {
  if (length == 0) length = header.size();
  std::string out(sizeof(length), '\0');
  std::memcpy(out.data(), &length, sizeof(length));
  out += header;
  out.append(data_bytes, '\x3c');
  return out;
}

absl::Status StatusOf(std::string_view bytes) {
  return SafetensorsFile::Parse(AsBytes(bytes)).status();
}

TEST(SafetensorsTest, RoundTrip) {
  const TempDir dir;
  const std::string path = dir.path() + "/x.safetensors";
  const std::vector<float> a = {1, 2, 3, 4, 5, 6};
  const std::vector<float> b = {7, 8};
  ASSERT_TRUE(
      WriteSafetensors({{"b", {{2, 1}, b}}, {"a", {{2, 3}, a}}}, {{"format", "pt"}}, path).ok());
  const auto file = SafetensorsFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  ASSERT_EQ(file->tensors().size(), 2u);
  EXPECT_EQ(file->tensors()[0].name, "a");
  EXPECT_EQ(file->tensors()[0].dtype, "F32");
  EXPECT_EQ(file->tensors()[0].ShapeString(), "[2, 3]");
  EXPECT_EQ(std::memcmp(file->tensors()[0].bytes.data(), a.data(), 24), 0);
  EXPECT_EQ(std::memcmp(file->tensors()[1].bytes.data(), b.data(), 8), 0);
  EXPECT_EQ(file->metadata().at("format"), "pt");
}

TEST(SafetensorsTest, ValuesThatDoNotFillTheShapeAreNotWritten) {
  const TempDir dir;
  const std::string path = dir.path() + "/x.safetensors";
  const std::vector<float> values = {1, 2};
  EXPECT_EQ(WriteSafetensors({{"a", {{3}, values}}}, {}, path).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(ReadFile(path, 1).ok());
}

TEST(SafetensorsTest, PaddedHeaderAndTensorsInAnyOrderAreRead) {
  const std::string bytes = FileOf(R"({"b":{"dtype":"F16","shape":[2],"data_offsets":[4,8]},)"
                                   R"("a":{"data_offsets":[0,4],"shape":[],"dtype":"F32"}}   )",
                                   8);
  const auto file = SafetensorsFile::Parse(AsBytes(bytes));
  ASSERT_TRUE(file.ok()) << file.status().ToString();
  EXPECT_EQ(file->tensors()[0].name, "b");
  EXPECT_EQ(file->tensors()[1].num_dims, 0u);
}

struct BadFile {
  const char* name;
  const char* header;
  size_t data_bytes;
  absl::StatusCode code;
  const char* message;
};

class BadSafetensorsTest : public ::testing::TestWithParam<BadFile> {};

TEST_P(BadSafetensorsTest, IsRefusedWithItsReason) {
  const absl::Status status = StatusOf(FileOf(GetParam().header, GetParam().data_bytes));
  EXPECT_EQ(status.code(), GetParam().code) << status.ToString();
  EXPECT_THAT(status.ToString(), HasSubstr(GetParam().message));
}

constexpr auto kDataLoss = absl::StatusCode::kDataLoss;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

INSTANTIATE_TEST_SUITE_P(
    All, BadSafetensorsTest,
    ::testing::Values(
        BadFile{"Empty", "", 0, kDataLoss, "no JSON"},
        BadFile{"NoObject", "[]", 0, kDataLoss, "an array where none belongs"},
        BadFile{"Scalar", "7", 0, kDataLoss, "a number where none belongs"},
        BadFile{"NoJson", R"({"a")", 0, kDataLoss, "no JSON"},
        BadFile{"TwoValues", "{} {}", 0, kDataLoss, "no JSON"},
        BadFile{"BytesOfNoTensor", "{}", 3, kDataLoss, "3 bytes belong to no tensor"},
        BadFile{"Overlap",
                R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                    "b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}})",
                12, kDataLoss, "b begins at byte 4, the one before it ends at 8"},
        BadFile{"SameBytesTwice",
                R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},
                    "b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})",
                8, kDataLoss, "begins at byte 0"},
        BadFile{"Gap",
                R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                    "b":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})",
                12, kDataLoss, "b begins at byte 8"},
        BadFile{"PastTheEnd", R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 7,
                kDataLoss, "outside the 7 bytes"},
        BadFile{"Backwards", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4,
                kDataLoss, "bytes 4 to 0"},
        BadFile{"ShapeTooLarge", R"({"a":{"dtype":"F32","shape":[3],"data_offsets":[0,8]}})", 8,
                kDataLoss, "takes 12 bytes, not 8"},
        BadFile{"ShapeOverflows",
                R"({"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,8]}})", 8,
                kDataLoss, "an axis of 4294967296"},
        BadFile{"EmptyAxis", R"({"a":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}})", 0,
                kDataLoss, "an axis of 0"},
        BadFile{"NegativeAxis", R"({"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}})", 4,
                kDataLoss, "a negative number"},
        BadFile{"FractionalOffset", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4.5]}})",
                4, kDataLoss, "no count"},
        BadFile{"OffsetBeyond64Bits",
                R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,18446744073709551616]}})", 4,
                kDataLoss, "no count"},
        BadFile{"OneOffset", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[4]}})", 4,
                kDataLoss, "has 1 numbers"},
        BadFile{"ThreeOffsets", R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,4]}})", 4,
                kInvalid, "more than 2"},
        BadFile{"FiveAxes", R"({"a":{"dtype":"F32","shape":[1,1,1,1,1],"data_offsets":[0,4]}})", 4,
                kInvalid, "more than 4"},
        BadFile{"UnknownDtype", R"({"a":{"dtype":"F33","shape":[1],"data_offsets":[0,4]}})", 4,
                kInvalid, "\"F33\" is not known"},
        BadFile{"NoDtype", R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, kDataLoss,
                "is missing"},
        BadFile{"UnknownField",
                R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"path":"/etc/passwd"}})", 4,
                kInvalid, "path is not known"},
        BadFile{"RepeatedName",
                R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},
                    "a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
                8, kDataLoss, "stands twice"},
        BadFile{"RepeatedField",
                R"({"a":{"dtype":"F32","dtype":"F16","shape":[1],"data_offsets":[0,4]}})", 4,
                kDataLoss, "dtype stands twice"},
        BadFile{"EmptyName", R"({"":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4,
                kInvalid, "0 bytes"},
        BadFile{"DeepNesting", R"({"a":{"shape":[[[[[[[[]]]]]]]]}})", 0, kDataLoss, "an array"},
        BadFile{"ObjectInMetadata", R"({"__metadata__":{"a":{}}})", 0, kDataLoss, "an object"},
        BadFile{"NumberInMetadata", R"({"__metadata__":{"a":1}})", 0, kDataLoss, "a number"}),
    [](const auto& test) { return std::string(test.param.name); });

TEST(BadSafetensorsFileTest, HeadersThatAreTooLong) {
  EXPECT_EQ(StatusOf(FileOf("{}", 0, 3)).code(), kDataLoss);
  EXPECT_EQ(StatusOf(FileOf("{}", 0, ~uint64_t{0})).code(), kInvalid);
  EXPECT_EQ(StatusOf(FileOf("{}", 0, SafetensorsFile::kMaxHeaderBytes + 1)).code(), kInvalid);
}

TEST(BadSafetensorsFileTest, NamesThatAreTooLong) {
  const std::string name(SafetensorsFile::kMaxNameBytes + 1, 'x');
  EXPECT_THAT(StatusOf(FileOf("{\"" + name + "\":{}}", 0)).ToString(), HasSubstr("513 bytes"));
}

TEST(BadSafetensorsFileTest, EveryTruncationIsAnError) {
  const std::string bytes = FileOf(R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8);
  ASSERT_TRUE(StatusOf(bytes).ok());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(StatusOf(std::string_view(bytes).substr(0, size)).ok()) << size;
  }
}

}  // namespace
}  // namespace choir::engine
