#include <signal.h>
#include <sys/stat.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <gtest/gtest.h>

#include "base/failpoint.h"
#include "base/file.h"
#include "base/hex.h"
#include "base/mapped_file.h"
#include "base/random.h"
#include "base/secret.h"
#include "base/sha256.h"
#include "tests/support/temp_dir.h"

namespace choir {
namespace {

TEST(Sha256Test, MatchesFips180Example) {
  EXPECT_EQ(DigestToHex(Sha256Of("abc")),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Sha256Test, FinishLeavesTheHashUsable) {
  Sha256 hash;
  hash.Update("a");
  (void)hash.Finish();
  hash.Update("bc");
  EXPECT_EQ(hash.Finish(), Sha256Of("abc"));
}

TEST(HexTest, RefusesOddLengthAndForeignCharacters) {
  EXPECT_FALSE(HexDecode("abc").ok());
  EXPECT_FALSE(HexDecode("0g").ok());
  EXPECT_EQ(HexEncode(HexDecode("00ffA0").value()), "00ffa0");
}

TEST(FileTest, AtomicWriteReplacesAndKeepsSecretsPrivate) {
  const TempDir dir;
  const std::string path = dir.path() + "/key";
  ASSERT_TRUE(AtomicWriteFile(path, "old").ok());
  ASSERT_TRUE(AtomicWriteSecretFile(path, "new").ok());
  EXPECT_EQ(ReadFile(path, 10).value(), "new");
  struct stat info {};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
}

TEST(FileTest, TooLargeFileIsRefused) {
  const TempDir dir;
  ASSERT_TRUE(AtomicWriteFile(dir.path() + "/f", "12345").ok());
  EXPECT_EQ(ReadFile(dir.path() + "/f", 4).status().code(), absl::StatusCode::kResourceExhausted);
}

TEST(FileTest, MissingFileIsNotFoundAndNamesThePath) {
  const absl::Status status = ReadFile("/nonexistent/x", 4).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(std::string(status.message()).find("/nonexistent/x"), std::string::npos);
}

TEST(MappedFileTest, MapsContentAndEmptyFile) {
  const TempDir dir;
  ASSERT_TRUE(AtomicWriteFile(dir.path() + "/a", "xyz").ok());
  ASSERT_TRUE(AtomicWriteFile(dir.path() + "/b", "").ok());
  EXPECT_EQ(AsChars(MappedFile::Open(dir.path() + "/a")->bytes()), "xyz");
  EXPECT_TRUE(MappedFile::Open(dir.path() + "/b")->bytes().empty());
  EXPECT_FALSE(MappedFile::Open(dir.path()).ok());
}

TEST(SeededRngTest, MatchesPublishedSplitMix64) {
  SeededRng rng(1234567);  // first outputs of the reference implementation for this seed
  EXPECT_EQ(rng.NextU64(), 6457827717110365317u);
  EXPECT_EQ(rng.NextU64(), 3203168211198807973u);
}

TEST(SecretTest, MoveWipesTheSource) {
  SecretBytes<4> a(std::array<uint8_t, 4>{1, 2, 3, 4});
  const SecretBytes<4> b = std::move(a);
  EXPECT_EQ(b.Expose()[3], 4);
  EXPECT_EQ(a.Expose()[3], 0);  // NOLINT(bugprone-use-after-move): the wipe is the claim
}

TEST(FailpointTest, KillsAtTheNamedHitOnly) {
  EXPECT_EXIT(
      {
        setenv("CHOIR_FAILPOINT", "base-test:2", 1);
        HitFailpoint("another");
        HitFailpoint("base-test");
        std::fputs("still here", stderr);
        HitFailpoint("base-test");
        std::_Exit(0);
      },
      testing::KilledBySignal(SIGKILL), "still here");
}

}  // namespace
}  // namespace choir
