#include "base/atomic_file.h"

#include <filesystem>
#include <string>
#include <utility>

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"

namespace choir {
namespace {

auto CountFiles(const std::string& folder) {
  return std::distance(std::filesystem::directory_iterator(folder), {});
}

TEST(AtomicFileTest, AppearsWholeOnCommit) {
  const TempDir dir;
  const std::string path = dir.path() + "/f";
  ASSERT_TRUE(AtomicWriteFile(path, "old").ok());
  absl::StatusOr<AtomicFile> file = AtomicFile::Create(path);
  ASSERT_TRUE(file.ok());
  ASSERT_TRUE(file->Append(AsBytes("new ")).ok());
  ASSERT_TRUE(file->Append(AsBytes("text")).ok());
  EXPECT_EQ(*ReadFile(path, 100), "old");
  ASSERT_TRUE(file->Commit().ok());
  EXPECT_EQ(*ReadFile(path, 100), "new text");
  EXPECT_EQ(CountFiles(dir.path()), 1);
}

TEST(AtomicFileTest, WithoutCommitNothingStays) {
  const TempDir dir;
  {
    absl::StatusOr<AtomicFile> file = AtomicFile::Create(dir.path() + "/f");
    ASSERT_TRUE(file.ok());
    AtomicFile moved = *std::move(file);
    ASSERT_TRUE(moved.Append(AsBytes("text")).ok());
    EXPECT_EQ(CountFiles(dir.path()), 1);
  }
  EXPECT_EQ(CountFiles(dir.path()), 0);
}

TEST(AtomicFileTest, MissingFolderIsNotFound) {
  const TempDir dir;
  EXPECT_EQ(AtomicFile::Create(dir.path() + "/none/f").status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace choir
