#include "engine/backend/vulkan/pipeline_cache_file.h"

#include <cstring>

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"

namespace choir::engine::vulkan {
namespace {

DeviceCaps Caps() {
  DeviceCaps caps;
  caps.vendor_id = 0x10de;
  caps.device_id = 7;
  caps.driver_version = 3;
  caps.cache_uuid[0] = 42;
  return caps;
}

// What a driver of this device would give.
std::string DriverBytes(const DeviceCaps& caps) {
  VkPipelineCacheHeaderVersionOne header{};
  header.headerSize = sizeof(header);
  header.headerVersion = VK_PIPELINE_CACHE_HEADER_VERSION_ONE;
  header.vendorID = caps.vendor_id;
  header.deviceID = caps.device_id;
  std::memcpy(header.pipelineCacheUUID, caps.cache_uuid.data(), VK_UUID_SIZE);
  return std::string(reinterpret_cast<const char*>(&header), sizeof(header)) + "pipelines";
}

class PipelineCacheFileTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(SavePipelineCache(dir_.path() + "/new", Caps(), DriverBytes(Caps())).ok());
  }
  [[nodiscard]] std::string Path() const { return PipelineCachePath(dir_.path() + "/new", Caps()); }
  [[nodiscard]] std::string Load(const DeviceCaps& caps) const {
    return LoadPipelineCache(dir_.path() + "/new", caps);
  }
  void Replace(const std::string& bytes) { ASSERT_TRUE(AtomicWriteFile(Path(), bytes).ok()); }

  TempDir dir_;
};

TEST_F(PipelineCacheFileTest, GivesBackWhatWasSaved) {
  EXPECT_EQ(Load(Caps()), DriverBytes(Caps()));
}

TEST_F(PipelineCacheFileTest, AnAbsentFolderIsAnEmptyCache) {
  EXPECT_EQ(LoadPipelineCache(dir_.path() + "/none", Caps()), "");
}

TEST_F(PipelineCacheFileTest, EveryFlippedByteMakesItEmpty) {
  const auto whole = ReadFile(Path(), 1 << 20);
  ASSERT_TRUE(whole.ok());
  for (size_t i = 0; i < whole->size(); ++i) {
    std::string damaged = *whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 1);
    Replace(damaged);
    EXPECT_EQ(Load(Caps()), "") << "byte " << i;
  }
}

TEST_F(PipelineCacheFileTest, EveryTruncationMakesItEmpty) {
  const auto whole = ReadFile(Path(), 1 << 20);
  ASSERT_TRUE(whole.ok());
  for (size_t size = 0; size < whole->size(); ++size) {
    Replace(whole->substr(0, size));
    EXPECT_EQ(Load(Caps()), "") << size << " bytes";
  }
}

TEST_F(PipelineCacheFileTest, AFileOfAnotherDriverUnderThisNameIsNotUsed) {
  DeviceCaps other = Caps();
  other.cache_uuid[0] = 43;
  ASSERT_TRUE(SavePipelineCache(dir_.path() + "/new", Caps(), DriverBytes(other)).ok());
  EXPECT_EQ(Load(Caps()), "");
}

}  // namespace
}  // namespace choir::engine::vulkan
