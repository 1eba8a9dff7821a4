#include "engine/train/document_store.h"

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/random.h"
#include "engine/train/dataset.h"
#include "engine/train/packer.h"
#include "tests/support/temp_dir.h"

namespace choir::engine {
namespace {

using ::testing::HasSubstr;

Document RandomDocument(SeededRng& rng) {
  Document document;
  const uint64_t size = 2 + rng.NextBelow(90);
  for (uint64_t i = 0; i < size; ++i) {
    document.tokens.push_back(static_cast<int32_t>(rng.NextBelow(uint64_t{1} << 31)));
    document.in_loss.push_back(i > 0 && rng.NextBelow(3) > 0 ? 1 : 0);
  }
  document.in_loss[1] = 1;
  return document;
}

std::shared_ptr<DocumentStore> Fill(const DocumentStoreOptions& options) {
  auto store = std::make_shared<DocumentStore>(options);
  SeededRng rng(5);
  for (int i = 0; i < 500; ++i) EXPECT_TRUE(store->Append(RandomDocument(rng)).ok());
  return store;
}

TEST(DocumentStoreTest, AFileSaysWhatMemorySays) {
  const TempDir dir;
  const auto memory = Fill({});
  const auto file = Fill({.tokens_in_memory = 1000, .folder = dir.path()});
  EXPECT_TRUE(memory->in_memory());
  EXPECT_FALSE(file->in_memory());
  // Nobody else can open it, and nothing stays behind.
  EXPECT_TRUE(std::filesystem::is_empty(dir.path()));
  ASSERT_EQ(file->documents(), 500u);
  ASSERT_EQ(file->tokens(), memory->tokens());
  for (uint64_t i = 0; i < 500; ++i) {
    const uint64_t size = memory->TokensOf(i);
    Document wanted;
    Document found;
    ASSERT_TRUE(memory->Read(i, size / 3, size - size / 3, wanted).ok());
    ASSERT_TRUE(file->Read(i, size / 3, size - size / 3, found).ok());
    ASSERT_EQ(found.tokens, wanted.tokens);
    ASSERT_EQ(found.in_loss, wanted.in_loss);
  }
}

TEST(DocumentStoreTest, MicroBatchesDoNotDependOnWhereTokensAre) {
  const TempDir dir;
  auto memory = Packer::Create(Fill({}), {.tokens_per_micro_batch = 64}, 3);
  auto file = Packer::Create(Fill({.tokens_in_memory = 10, .folder = dir.path()}),
                             {.tokens_per_micro_batch = 64}, 3);
  ASSERT_TRUE(memory.ok() && file.ok());
  for (uint64_t i = 0; i < 2 * memory->MicroBatchesInEpoch(); ++i) {
    MicroBatch wanted;
    MicroBatch found;
    ASSERT_TRUE(memory->Next(wanted).ok());
    ASSERT_TRUE(file->Next(found).ok());
    ASSERT_EQ(found.token_ids, wanted.token_ids);
    ASSERT_EQ(found.targets, wanted.targets);
    ASSERT_EQ(found.loss_weights, wanted.loss_weights);
  }
}

TEST(DocumentStoreTest, AFolderThatCannotBeWrittenIsNamed) {
  DocumentStore store({.tokens_in_memory = 1, .folder = "/nowhere"});
  const absl::Status status = store.Append({.tokens = {1, 2}, .in_loss = {0, 1}});
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(status.ToString(), HasSubstr("/nowhere"));
  EXPECT_THAT(status.ToString(), HasSubstr("TMPDIR"));
}

TEST(DocumentStoreTest, DocumentsThatCannotBeLearnedFromAreRefused) {
  DocumentStore store;
  for (const Document& document :
       {Document{.tokens = {1}, .in_loss = {0}}, Document{.tokens = {1, 2}, .in_loss = {0}},
        Document{.tokens = {1, 2}, .in_loss = {1, 0}},
        Document{.tokens = {1, -2}, .in_loss = {0, 1}}}) {
    EXPECT_EQ(store.Append(document).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_EQ(store.documents(), 0u);
}

// Reads the file into a store with little memory, and packs it: in a process of its own, whose
// address space may not grow by more than `room` bytes. 0: it did.
int ReadWithin(const std::string& path, const std::string& folder, uint64_t room) {
  std::ifstream statm("/proc/self/statm");
  uint64_t pages = 0;
  statm >> pages;
  const rlim_t most = pages * static_cast<uint64_t>(::sysconf(_SC_PAGESIZE)) + room;
  const rlimit limit{.rlim_cur = most, .rlim_max = most};
  if (::setrlimit(RLIMIT_AS, &limit) != 0) return 1;
  auto store = std::make_shared<DocumentStore>(
      DocumentStoreOptions{.tokens_in_memory = 1 << 16, .folder = folder});
  const auto append = [&store](const Example& example, const ExampleOrigin& /*origin*/) {
    Document document;
    for (const char c : example.text) document.tokens.push_back(static_cast<uint8_t>(c));
    document.in_loss.assign(document.tokens.size(), 1);
    return store->Append(document);
  };
  if (!VisitExamples(path, {.max_bytes = kMaxStreamedBytes}, append).ok()) return 2;
  auto packer = Packer::Create(store, {.tokens_per_micro_batch = 4096}, 1);
  if (!packer.ok()) return 3;
  MicroBatch batch;
  for (int i = 0; i < 100; ++i) {
    if (!packer->Next(batch).ok() || batch.real_tokens == 0) return 4;
  }
  return store->tokens() > uint64_t{60} << 20 ? 0 : 5;
}

TEST(DocumentStoreTest, DataMayBeLargerThanMemory) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "a sanitizer's shadow needs the address space that this test limits";
#endif
  const TempDir dir;
  const std::string path = dir.path() + "/large.jsonl";
  {
    std::ofstream out(path, std::ios::binary);
    const std::string line = "{\"text\": \"" + std::string(64 << 10, 'a') + "\"}\n";
    for (int i = 0; i < 1024; ++i) out << line;  // 64 MiB of text, 256 MiB of tokens
  }
  const pid_t child = ::fork();
  ASSERT_GE(child, 0);
  if (child == 0) ::_exit(ReadWithin(path, dir.path(), uint64_t{24} << 20));
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

}  // namespace
}  // namespace choir::engine
