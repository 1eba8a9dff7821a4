// What a sweep keeps and what it deletes, and that a coordinator sweeps safely beside its runs.
#include "coordinator/service/retention.h"

#include <filesystem>
#include <memory>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/file.h"
#include "coordinator/service/run_plan.h"
#include "coordinator/service/test_federation.h"
#include "tests/support/temp_dir.h"

namespace choir::coordinator {
namespace {

constexpr absl::Duration kWeek = absl::Hours(7 * 24);

class RetentionTest : public testing::Test {
 protected:
  RetentionTest()
      : store_(StoreKinds()[0].open(dir_.path() + "/db").value()),
        blobs_(OpenDirectoryBlobStore(dir_.path() + "/blobs", 1 << 20).value()) {}

  Digest Put(const std::string& text) {
    EXPECT_TRUE(blobs_->PutWhole(Sha256Of(text), AsBytes(text)).ok());
    return Sha256Of(text);
  }
  bool IsThere(const std::string& text) { return blobs_->Stat(Sha256Of(text))->complete; }
  static std::string Name(const std::string& text) { return std::string(AsText(Sha256Of(text))); }

  void AddRun(const std::string& id, const v1::RunConfig& config) {
    v1::SignedDocument document;
    document.set_body(config.SerializeAsString());
    Batch batch;
    batch.run = {{id, "running", "", document.SerializeAsString(), now_, "", 0, 0}, 0};
    ASSERT_TRUE(store_->Commit(batch).ok());
  }
  void AddVersion(const std::string& run, uint64_t number, const v1::AdapterVersion& version) {
    v1::SignedDocument document;
    document.set_body(version.SerializeAsString());
    Batch batch;
    batch.versions = {{run, number, document.SerializeAsString(), {}}};
    ASSERT_TRUE(store_->Commit(batch).ok());
  }
  SweptBlobs Sweep(uint32_t keep_versions = 2) {
    EXPECT_TRUE(in_use_.Update(*store_).ok());
    return SweepBlobs(*store_, *blobs_, blobs_->List().value(),
                      in_use_.All(manifest_, keep_versions), kWeek, now_)
        .value();
  }

  TempDir dir_;
  std::unique_ptr<Store> store_;
  std::unique_ptr<BlobStore> blobs_;
  BlobsInUse in_use_;
  v1::Manifest manifest_;
  absl::Time now_ = absl::FromUnixSeconds(1'800'000'000);
};

TEST_F(RetentionTest, KeepsWhatSomethingNamesAndDeletesTheRestAWeekLater) {
  manifest_.add_base_model_digests(Name("allowed model"));
  v1::RunConfig config;
  config.set_base_model_digest(Name("model"));
  config.set_initial_adapter_digest(Name("v0"));
  config.mutable_gate()->set_data_digest(Name("held out"));
  AddRun("demo", config);
  constexpr double kNlls[] = {3, 1, 2, 2.5, 2.25};
  for (uint64_t v = 0; v < 5; ++v) {
    v1::AdapterVersion version;
    version.set_adapter_digest(Name(fmt::format("v{}", v)));
    version.set_server_state_digest(Name(fmt::format("state{}", v)));
    version.set_basis_digest(Name(fmt::format("basis{}", v)));
    version.set_held_out_nll(kNlls[v]);
    AddVersion("demo", v, version);
    for (const char* kind : {"v", "state", "basis"}) Put(fmt::format("{}{}", kind, v));
  }
  for (const char* text : {"model", "allowed model", "held out", "nobody's"}) Put(text);
  EXPECT_EQ(Sweep().blobs, 0u);  // only noted
  now_ += kWeek - absl::Seconds(1);
  EXPECT_EQ(Sweep().blobs, 0u);
  now_ += absl::Seconds(1);
  // v2; basis0, basis2; four states; nobody's. v0 is the run's first adapter, v1 its best.
  EXPECT_EQ(Sweep().blobs, 8u);
  for (const char* text : {"model", "allowed model", "held out", "v0", "v1", "basis1", "v3",
                           "basis3", "v4", "basis4", "state4"}) {
    EXPECT_TRUE(IsThere(text)) << text;
  }
  for (const char* text : {"v2", "basis0", "basis2", "state0", "state3", "nobody's"}) {
    EXPECT_FALSE(IsThere(text)) << text;
  }
  EXPECT_EQ(Sweep().blobs, 0u);
  EXPECT_THAT(store_->ListPieces("unused-blobs").value(), testing::IsEmpty());
}

TEST_F(RetentionTest, ZeroKeepsAllVersions) {
  AddRun("demo", {});
  for (uint64_t v = 0; v < 3; ++v) {
    v1::AdapterVersion version;
    version.set_adapter_digest(Name(fmt::format("v{}", v)));
    AddVersion("demo", v, version);
    Put(fmt::format("v{}", v));
  }
  Sweep(0);
  now_ += 2 * kWeek;
  EXPECT_EQ(Sweep(0).blobs, 0u);
}

TEST_F(RetentionTest, WhatIsUsedAgainBeginsAnew) {
  Put("adapter");
  Sweep();
  now_ += kWeek;
  v1::RunConfig config;
  config.set_initial_adapter_digest(Name("adapter"));
  AddRun("demo", config);
  EXPECT_EQ(Sweep().blobs, 0u);
  EXPECT_TRUE(IsThere("adapter"));
  EXPECT_THAT(store_->ListPieces("unused-blobs").value(), testing::IsEmpty());
}

TEST_F(RetentionTest, UploadThatGoesOnStaysAndOneThatStoppedGoes) {
  const std::string going_on = "0123456789";
  const std::string stopped = "abcdefghij";
  ASSERT_TRUE(blobs_->Put(Sha256Of(going_on), 10, 0, AsBytes("012")).ok());
  ASSERT_TRUE(blobs_->Put(Sha256Of(stopped), 10, 0, AsBytes("abcd")).ok());
  Sweep();
  now_ += kWeek;
  ASSERT_TRUE(blobs_->Put(Sha256Of(going_on), 10, 3, AsBytes("345")).ok());
  const SweptBlobs swept = Sweep();
  EXPECT_EQ(swept.blobs, 1u);
  EXPECT_EQ(swept.bytes, 4u);
  EXPECT_EQ(blobs_->Stat(Sha256Of(going_on))->stored_bytes, 6u);
  EXPECT_EQ(blobs_->Stat(Sha256Of(stopped))->stored_bytes, 0u);
}

TEST_F(RetentionTest, ForeignFilesAndDamagedNotesAreNoMatter) {
  ASSERT_TRUE(AtomicWriteFile(dir_.path() + "/blobs/README", "not a blob").ok());
  Put("unused");
  Batch batch;
  batch.pieces = {{"unused-blobs", false, {{Name("unused"), "6 1 x"}, {"gone", "1 1 1"}}}};
  ASSERT_TRUE(store_->Commit(batch).ok());
  EXPECT_EQ(Sweep().blobs, 0u);
  EXPECT_EQ(store_->ListPieces("unused-blobs")->size(), 1u);
  now_ += kWeek;
  EXPECT_EQ(Sweep().blobs, 1u);
  EXPECT_TRUE(std::filesystem::exists(dir_.path() + "/blobs/README"));
}

TEST_F(RetentionTest, DamagedVersionMeansThatNothingIsDeleted) {
  AddRun("demo", {});
  Batch batch;
  batch.versions = {{"demo", 0, "\xff\xff", {}}};
  ASSERT_TRUE(store_->Commit(batch).ok());
  EXPECT_EQ(in_use_.Update(*store_).code(), absl::StatusCode::kDataLoss);
}

TEST_F(RetentionTest, SpoolKeepsTheRoundsThatGoOn) {
  const std::string spool = dir_.path() + "/spool";
  for (const char* folder : {"/a/1/session", "/a/2/session", "/b/7/session"}) {
    ASSERT_TRUE(MakeDirectories(spool + folder, 0700).ok());
  }
  SweepSpool(spool, {{"a", 2}});
  EXPECT_TRUE(std::filesystem::exists(spool + "/a/2/session"));
  EXPECT_FALSE(std::filesystem::exists(spool + "/a/1"));
  EXPECT_FALSE(std::filesystem::exists(spool + "/b"));
}

TEST_F(RetentionTest, RunWhoseBlobWentIsRefusedByName) {
  v1::RunConfig config;
  config.set_initial_adapter_digest(Name("adapter"));
  const absl::Status gone = CheckRunBlobs(config, *blobs_);
  EXPECT_EQ(gone.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(gone.message()), testing::HasSubstr(DigestToHex(Sha256Of("adapter"))));
  Put("adapter");
  EXPECT_TRUE(CheckRunBlobs(config, *blobs_).ok());
}

}  // namespace
}  // namespace choir::coordinator
