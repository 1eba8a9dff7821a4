#include "coordinator/blob/blob_store.h"

#include <map>
#include <utility>

#include <gtest/gtest.h>

#include "base/file.h"
#include "tests/support/temp_dir.h"

namespace choir::coordinator {
namespace {

class BlobStoreTest : public testing::Test {
 protected:
  BlobStoreTest() { Reopen(); }
  void Reopen() { blobs_ = OpenDirectoryBlobStore(dir_.path() + "/blobs", 1 << 20).value(); }
  absl::StatusOr<BlobInfo> Put(uint64_t offset, std::string_view data) {
    return blobs_->Put(digest_, content_.size(), offset, AsBytes(data));
  }
  TempDir dir_;
  std::unique_ptr<BlobStore> blobs_;
  const std::string content_ = "0123456789abcdef";
  const Digest digest_ = Sha256Of(content_);
};

TEST_F(BlobStoreTest, AppearsOnlyWhenWholeAndResumesAfterRestart) {
  ASSERT_FALSE(Put(0, "01234567")->complete);
  EXPECT_EQ(blobs_->Read(digest_, 0, 100).status().code(), absl::StatusCode::kNotFound);
  Reopen();
  EXPECT_EQ(blobs_->Stat(digest_)->stored_bytes, 8u);
  ASSERT_TRUE(Put(8, "89abcdef")->complete);
  EXPECT_EQ(blobs_->Read(digest_, 0, 100).value(), content_);
}

TEST_F(BlobStoreTest, RepeatedAndOverlappingPiecesAreFine) {
  ASSERT_EQ(Put(0, "01234567")->stored_bytes, 8u);
  ASSERT_EQ(Put(0, "0123")->stored_bytes, 8u);
  ASSERT_EQ(Put(4, "456789ab")->stored_bytes, 12u);
  ASSERT_TRUE(Put(0, content_)->complete);
  ASSERT_TRUE(Put(0, content_)->complete);
  EXPECT_EQ(blobs_->Read(digest_, 0, 100).value(), content_);
}

TEST_F(BlobStoreTest, GapIsRefused) {
  EXPECT_EQ(Put(8, "89abcdef").status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(BlobStoreTest, WrongBytesAreThrownAway) {
  EXPECT_EQ(Put(0, "0123456789abcdeX").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(blobs_->Stat(digest_)->stored_bytes, 0u);
  EXPECT_TRUE(Put(0, content_)->complete);
}

TEST_F(BlobStoreTest, SizesAreCheckedWithoutOverflow) {
  const auto code = [&](uint64_t total, uint64_t offset) {
    return blobs_->Put(digest_, total, offset, AsBytes(content_)).status().code();
  };
  EXPECT_EQ(code((1 << 20) + 1, 0), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(16, 1), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(16, ~uint64_t{0}), absl::StatusCode::kInvalidArgument);
}

TEST_F(BlobStoreTest, ReadsRanges) {
  ASSERT_TRUE(blobs_->PutWhole(digest_, AsBytes(content_)).ok());
  EXPECT_EQ(blobs_->Read(digest_, 4, 3).value(), "456");
  EXPECT_EQ(blobs_->Read(digest_, 14, 100).value(), "ef");
  EXPECT_EQ(blobs_->Read(digest_, 16, 100).value(), "");
  EXPECT_EQ(blobs_->Read(digest_, 17, 1).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(BlobStoreTest, PutWholeChecksTheHash) {
  EXPECT_EQ(blobs_->PutWhole(digest_, AsBytes("other")).code(), absl::StatusCode::kDataLoss);
  EXPECT_FALSE(blobs_->Stat(digest_)->complete);
}

TEST_F(BlobStoreTest, ListsAndRemovesWholeAndUnfinishedBlobs) {
  ASSERT_TRUE(blobs_->PutWhole(digest_, AsBytes(content_)).ok());
  const Digest other = Sha256Of("another blob");
  ASSERT_TRUE(blobs_->Put(other, 12, 0, AsBytes("anoth")).ok());
  ASSERT_TRUE(AtomicWriteFile(dir_.path() + "/blobs/README", "not a blob").ok());
  std::map<Digest, std::pair<uint64_t, bool>> listed;
  const std::vector<BlobEntry> entries = blobs_->List().value();
  for (const BlobEntry& entry : entries) {
    listed[entry.digest] = {entry.info.stored_bytes, entry.info.complete};
  }
  EXPECT_EQ(listed, (std::map<Digest, std::pair<uint64_t, bool>>{{digest_, {16, true}},
                                                                 {other, {5, false}}}));
  ASSERT_TRUE(blobs_->Remove(digest_).ok());
  ASSERT_TRUE(blobs_->Remove(other).ok());
  EXPECT_TRUE(blobs_->Remove(digest_).ok());
  EXPECT_TRUE(blobs_->List()->empty());
  EXPECT_EQ(blobs_->Read(digest_, 0, 1).status().code(), absl::StatusCode::kNotFound);
  ASSERT_TRUE(Put(0, content_)->complete);
}

TEST_F(BlobStoreTest, EmptyBlobIsABlob) {
  const Digest empty = Sha256Of("");
  ASSERT_TRUE(blobs_->Put(empty, 0, 0, {})->complete);
  EXPECT_EQ(blobs_->Read(empty, 0, 1).value(), "");
}

}  // namespace
}  // namespace choir::coordinator
