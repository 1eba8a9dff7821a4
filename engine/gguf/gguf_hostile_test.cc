// Files that lie. Every class of crafted file that has crashed, hung or exhausted another GGUF
// reader (CVE-2024-21802 to -23605, CVE-2024-25664 to -25668, CVE-2025-53630, CVE-2026-33298 and
// the bugs between them) is refused with its reason.

#include <sys/resource.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "engine/gguf/gguf_file.h"
#include "tests/support/raw_gguf.h"

namespace choir::engine {
namespace {

using ::testing::HasSubstr;

constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
// Counts and lengths that overflow, or tempt a reader to allocate.
constexpr uint64_t kHugeCounts[] = {
    uint64_t{1} << 63, kMax,         uint64_t{1} << 61, uint64_t{1} << 60,
    uint64_t{1} << 40, kMax / 8 + 1, uint64_t{1} << 32, uint64_t{1} << 31,
    1'000'000};

absl::Status Parse(const RawGguf& raw) {
  return GgufFile::Parse(AsBytes(raw.bytes())).status();
}

void ExpectRefused(const RawGguf& raw, std::string_view reason,
                   absl::StatusCode code = absl::StatusCode::kDataLoss) {
  const absl::Status status = Parse(raw);
  EXPECT_EQ(status.code(), code) << status.ToString();
  EXPECT_THAT(status.ToString(), HasSubstr(std::string(reason)));
}

// A file with one tensor and the given room for data.
RawGguf OneTensor(const std::vector<uint64_t>& dims, uint32_t type = 0, uint64_t offset = 0,
                  size_t data_bytes = 4096) {
  RawGguf raw;
  raw.Head(1, 0).Tensor("w", dims, type, offset).PadTo(32).Zeros(data_bytes);
  return raw;
}

RawGguf GoodFile() {
  RawGguf raw;
  raw.Head(2, 4).KeyU32("a", 7).Key("s", 8).String("text");
  raw.Key("list", 9).U32(8).U64(2).String("x").String("yz").Key("flag", 7).U8(1);
  raw.Tensor("w", {4, 2}, 0, 0).Tensor("v", {8}, 1, 32).PadTo(32).Zeros(64);
  return raw;
}

TEST(HostileGgufTest, TheGoodFileItselfIsRead) {
  EXPECT_TRUE(Parse(GoodFile()).ok()) << Parse(GoodFile()).ToString();
}

TEST(HostileGgufTest, EveryTruncationIsRefused) {
  const std::string good = GoodFile().bytes();
  for (size_t size = 0; size + 16 < good.size(); ++size) {  // v's 16 bytes end the file's content
    RawGguf raw;
    raw.Bytes(std::string_view(good).substr(0, size));
    EXPECT_FALSE(Parse(raw).ok()) << size;
  }
}

TEST(HostileGgufTest, MagicAndVersions) {
  constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
  RawGguf other;
  other.Bytes("GGML").U32(3).U64(0).U64(0);
  ExpectRefused(other, "not a GGUF file", kInvalid);
  for (const uint32_t version : {0u, 1u, 4u, 255u, 0xffffffffu}) {
    ExpectRefused(RawGguf().Head(0, 0, version), "version", kInvalid);
  }
  ExpectRefused(RawGguf().Head(0, 0, 0x03000000u), "big-endian", kInvalid);
  EXPECT_TRUE(Parse(RawGguf().Head(0, 0, 2)).ok());
}

TEST(HostileGgufTest, HugeCountsAreRefusedBeforeAnyWork) {
  for (const uint64_t count : kHugeCounts) {
    ExpectRefused(RawGguf().Head(count, 0).Zeros(4096), "tensors do not fit");
    ExpectRefused(RawGguf().Head(0, count).Zeros(4096), "keys do not fit");
    ExpectRefused(RawGguf().Head(count, count).Zeros(4096), "do not fit");
  }
}

TEST(HostileGgufTest, CountsAboveTheLimitsAreRefusedEvenIfTheyFit) {
  const size_t room = (GgufFile::kMaxTensors + 1) * 64;
  ExpectRefused(RawGguf().Head(GgufFile::kMaxTensors + 1, 0).Zeros(room), "at most");
  ExpectRefused(RawGguf().Head(0, GgufFile::kMaxKeyValues + 1).Zeros(room), "at most");
}

TEST(HostileGgufTest, HugeLengthsOfKeysStringsArraysAndNames) {
  for (const uint64_t size : kHugeCounts) {
    ExpectRefused(RawGguf().Head(0, 1).U64(size).Zeros(64), "a key needs");
    ExpectRefused(RawGguf().Head(0, 1).Key("k", 8).U64(size).Zeros(64), "k needs");
    ExpectRefused(RawGguf().Head(0, 1).Key("k", 9).U32(8).U64(1).U64(size).Zeros(64), "k needs");
    for (const uint32_t element : {0u, 4u, 6u, 8u, 10u}) {
      ExpectRefused(RawGguf().Head(0, 1).Key("k", 9).U32(element).U64(size).Zeros(64),
                    "elements of k do not fit");
    }
    ExpectRefused(RawGguf().Head(1, 0).U64(size).Zeros(64), "a tensor name needs");
  }
}

TEST(HostileGgufTest, KeysMustBeNamesAndUnique) {
  ExpectRefused(RawGguf().Head(0, 1).KeyU32("", 1), "a key of 0 bytes");
  ExpectRefused(RawGguf().Head(0, 1).KeyU32(std::string_view("a\0b", 3), 1), "NUL");
  ExpectRefused(RawGguf().Head(0, 1).KeyU32(std::string(65536, 'k'), 1), "a key of 65536 bytes");
  ExpectRefused(RawGguf().Head(0, 2).KeyU32("k", 1).KeyU32("k", 2), "the key k stands twice");
  RawGguf empty_keys;
  empty_keys.Head(0, 65535);
  for (int i = 0; i < 65535; ++i) empty_keys.KeyU32("", 0);
  ExpectRefused(empty_keys, "a key of 0 bytes");
}

TEST(HostileGgufTest, ValueTypesThatDoNotExist) {
  for (const uint32_t type : {13u, 14u, 255u, 0xffffffffu}) {
    ExpectRefused(RawGguf().Head(0, 1).Key("k", type).Zeros(16), "no value type");
    ExpectRefused(RawGguf().Head(0, 1).Key("k", 9).U32(type).U64(1).Zeros(16), "no value type");
  }
  ExpectRefused(RawGguf().Head(0, 1).Key("k", 9).U32(9).U64(1).Zeros(64), "array of arrays");
}

TEST(HostileGgufTest, BoolsAreZeroOrOne) {
  ExpectRefused(RawGguf().Head(0, 1).Key("k", 7).U8(2), "a bool holds 2");
  ExpectRefused(RawGguf().Head(0, 1).Key("k", 9).U32(7).U64(2).U8(1).U8(255), "a bool holds 255");
}

TEST(HostileGgufTest, AlignmentIsASmallPowerOfTwoOfTheRightType) {
  for (const uint32_t value : {0u, 1u, 3u, 4u, 7u, 24u, 1u << 20, 1u << 30, 1u << 31, ~0u}) {
    ExpectRefused(RawGguf().Head(0, 1).KeyU32("general.alignment", value), "a power of two");
  }
  ExpectRefused(RawGguf().Head(0, 1).Key("general.alignment", 5).U32(32), "of type i32");
  ExpectRefused(RawGguf().Head(0, 1).Key("general.alignment", 10).U64(32), "of type u64");
  ExpectRefused(RawGguf().Head(0, 1).Key("general.alignment", 8).String("32"), "of type string");
  ExpectRefused(RawGguf().Head(0, 1).Key("general.alignment", 9).U32(4).U64(1).U32(32),
                "of type array");
}

TEST(HostileGgufTest, TensorsHaveOneToFourAxes) {
  for (const uint32_t axes : {0u, 5u, 8u, 9u, 255u, 1u << 31, ~0u}) {
    ExpectRefused(RawGguf().Head(1, 0).String("w").U32(axes).Zeros(4096), "axes; 1 to 4");
  }
}

TEST(HostileGgufTest, ShapesThatAreEmptyOrOverflow) {
  constexpr uint64_t k16 = uint64_t{1} << 16;
  constexpr uint64_t k32 = uint64_t{1} << 32;
  ExpectRefused(OneTensor({0}), "an axis of length 0");
  ExpectRefused(OneTensor({32, 0}), "an axis of length 0");
  ExpectRefused(OneTensor({32, 1, 0, 1}), "an axis of length 0");
  ExpectRefused(OneTensor({k32, k32}), "overflows");
  ExpectRefused(OneTensor({k16, k16, k16, k16}), "overflows");
  ExpectRefused(OneTensor({kMax, kMax}), "overflows");
  ExpectRefused(OneTensor({kMax}), "elements");
  ExpectRefused(OneTensor({uint64_t{1} << 63}), "elements");
  ExpectRefused(OneTensor({uint64_t{1} << 62}), "overflows");  // times four bytes
  ExpectRefused(OneTensor({(uint64_t{1} << 62) - 1}), "lie outside");
}

TEST(HostileGgufTest, RowsThatAreNoWholeNumberOfBlocks) {
  for (const uint32_t type : {2u, 8u, 12u, 14u, 34u, 35u}) {
    const TensorTypeLayout& layout = *FindTensorTypeLayout(type);
    for (const uint64_t row :
         {uint64_t{1}, uint64_t{layout.block_elements} - 1, uint64_t{layout.block_elements} + 1}) {
      ExpectRefused(OneTensor({row, layout.block_elements}, type), "no whole number");
    }
    EXPECT_TRUE(Parse(OneTensor({layout.block_elements, 2}, type)).ok()) << layout.name;
  }
}

TEST(HostileGgufTest, OffsetsOutsideOrMisaligned) {
  for (const uint64_t offset : {uint64_t{1}, uint64_t{31}, kMax}) {
    ExpectRefused(OneTensor({8}, 0, offset), "no multiple of 32");
  }
  for (const uint64_t offset : {uint64_t{4096}, uint64_t{1} << 40, uint64_t{1} << 63, kMax - 31}) {
    ExpectRefused(OneTensor({8}, 0, offset), "lie outside");
  }
}

TEST(HostileGgufTest, TensorsLargerThanTheFile) {
  ExpectRefused(OneTensor({1025}), "bytes [0, +4100) lie outside the 4096 bytes");
  ExpectRefused(OneTensor({1024}, 0, 32), "lie outside");
  ExpectRefused(OneTensor({uint64_t{1} << 38}), "lie outside");
  RawGguf no_data;
  no_data.Head(1, 0).Tensor("w", {1}, 0, 0);
  ExpectRefused(no_data, "lie outside the 0 bytes");
}

TEST(HostileGgufTest, OverlappingAndRepeatedTensors) {
  RawGguf overlap;
  overlap.Head(2, 0).Tensor("w", {64}, 0, 0).Tensor("v", {8}, 0, 224).PadTo(32).Zeros(512);
  ExpectRefused(overlap, "tensors w and v overlap");
  RawGguf same_place;
  same_place.Head(2, 0).Tensor("w", {8}, 0, 0).Tensor("v", {8}, 0, 0).PadTo(32).Zeros(512);
  ExpectRefused(same_place, "overlap");
  RawGguf unknown_inside;
  unknown_inside.Head(2, 0).Tensor("w", {64}, 0, 0).Tensor("v", {8}, 99, 32).PadTo(32).Zeros(512);
  ExpectRefused(unknown_inside, "overlap");
  RawGguf repeated;
  repeated.Head(2, 0).Tensor("w", {8}, 0, 0).Tensor("w", {8}, 0, 32).PadTo(32).Zeros(512);
  ExpectRefused(repeated, "the tensor w stands twice");
}

TEST(HostileGgufTest, SizesWhoseSumWraps) {
  constexpr uint64_t kBig = (uint64_t{1} << 61) - 8;
  RawGguf raw;
  raw.Head(3, 0);
  raw.Tensor("a", {kBig}, 0, 0).Tensor("b", {kBig}, 0, 32).Tensor("c", {8}, 0, 64);
  raw.PadTo(32).Zeros(4096);
  ExpectRefused(raw, "lie outside");
}

TEST(HostileGgufTest, TensorNames) {
  const auto with_name = [](std::string_view name) {
    RawGguf raw;
    raw.Head(1, 0).Tensor(name, {8}, 0, 0).PadTo(32).Zeros(64);
    return raw;
  };
  EXPECT_TRUE(Parse(with_name(std::string(63, 'n'))).ok());
  EXPECT_TRUE(Parse(with_name(std::string(64, 'n'))).ok());
  ExpectRefused(with_name(std::string(65, 'n')), "a tensor name of 65 bytes");
  ExpectRefused(with_name(std::string(4096, 'n')), "a tensor name of 4096 bytes");
  ExpectRefused(with_name(""), "a tensor name of 0 bytes");
  ExpectRefused(with_name(std::string_view("a\0", 2)), "NUL");
}

TEST(HostileGgufTest, TypesWithoutLayoutAreKeptByNumberAndHaveNoBytes) {
  for (const uint32_t type : {4u, 5u, 31u, 33u, 36u, 38u, 100u, 255u, 1u << 31, ~0u}) {
    const RawGguf raw = OneTensor({3, 5}, type);
    const absl::StatusOr<GgufFile> file = GgufFile::Parse(AsBytes(raw.bytes()));
    ASSERT_TRUE(file.ok()) << file.status().ToString();
    EXPECT_EQ(file->tensors()[0].type, type);
    EXPECT_TRUE(file->tensors()[0].bytes.empty());
  }
}

// Every byte of the header set to every of a few telling values: an answer or an error, no more.
TEST(HostileGgufTest, DamagedBytesNeverDoHarm) {
  const std::string good = GoodFile().bytes();
  int refused = 0;
  for (size_t at = 0; at < good.size(); ++at) {
    for (const char value : {'\x00', '\x01', '\x7f', '\x80', '\xff'}) {
      std::string bytes = good;
      bytes[at] = value;
      const absl::StatusOr<GgufFile> file = GgufFile::Parse(AsBytes(bytes));
      if (!file.ok()) ++refused;
    }
  }
  EXPECT_GT(refused, 100);
}

// The sum over all of the above: had any of these files been believed, memory would show it.
TEST(HostileGgufTest, MemoryStaysSmall) {
  struct rusage usage {};
  ASSERT_EQ(::getrusage(RUSAGE_SELF, &usage), 0);
  EXPECT_LT(usage.ru_maxrss, 512 * 1024) << "KiB";
}

}  // namespace
}  // namespace choir::engine
