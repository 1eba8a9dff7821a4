#include "engine/train/document_store.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <limits>
#include <utility>

#include <fmt/format.h>

#include "base/check.h"
#include "base/file.h"
#include "base/status_macros.h"

namespace choir::engine {
namespace {

constexpr uint32_t kInLoss = uint32_t{1} << 31;
constexpr size_t kBufferWords = size_t{1} << 18;

std::string TemporaryFolder() {
  const char* folder = std::getenv("TMPDIR");  // NOLINT(concurrency-mt-unsafe): nobody sets it
  return folder != nullptr && *folder != '\0' ? folder : "/var/tmp";
}

absl::Status CheckDocument(const Document& document, uint64_t index) {
  const size_t size = document.tokens.size();
  if (size < 2 || size > std::numeric_limits<uint32_t>::max() || document.in_loss.size() != size) {
    return absl::InvalidArgumentError(fmt::format("document {} has {} tokens and {} loss marks",
                                                  index, size, document.in_loss.size()));
  }
  if (std::none_of(document.in_loss.begin() + 1, document.in_loss.end(),
                   [](uint8_t mark) { return mark != 0; })) {
    return absl::InvalidArgumentError(fmt::format("document {} has nothing to predict", index));
  }
  if (std::any_of(document.tokens.begin(), document.tokens.end(),
                  [](int32_t token) { return token < 0; })) {
    return absl::InvalidArgumentError(fmt::format("document {} has a negative token", index));
  }
  return absl::OkStatus();
}

}  // namespace

DocumentStore::DocumentStore(DocumentStoreOptions options) : options_(std::move(options)) {}

DocumentStore::~DocumentStore() {
  if (fd_ >= 0) ::close(fd_);
}

absl::Status DocumentStore::Append(const Document& document) {
  CHOIR_RETURN_IF_ERROR(CheckDocument(document, documents()));
  const size_t size = document.tokens.size();
  for (size_t i = 0; i < size; ++i) {
    const auto token = static_cast<uint32_t>(document.tokens[i]);
    words_.push_back(token | (document.in_loss[i] != 0 ? kInLoss : 0));
  }
  begins_.push_back(begins_.back() + size);
  if (fd_ < 0 && tokens() > options_.tokens_in_memory) return SpillToFile();
  if (fd_ >= 0 && words_.size() >= kBufferWords) return WriteBuffer();
  return absl::OkStatus();
}

absl::Status DocumentStore::SpillToFile() {
  std::string path =
      (options_.folder.empty() ? TemporaryFolder() : options_.folder) + "/choir-documents-XXXXXX";
  fd_ = ::mkstemp(path.data());
  if (fd_ < 0) {
    return ErrnoStatus(fmt::format(
        "{} tokens need a temporary file, and {} cannot be made (TMPDIR names another folder)",
        tokens(), path));
  }
  // Without a name it goes away with the process, however that ends.
  ::unlink(path.c_str());
  CHOIR_RETURN_IF_ERROR(WriteBuffer());
  words_.shrink_to_fit();
  return absl::OkStatus();
}

absl::Status DocumentStore::WriteBuffer() {
  const char* bytes = reinterpret_cast<const char*>(words_.data());
  size_t left = words_.size() * sizeof(uint32_t);
  while (left > 0) {
    const ssize_t written = ::write(fd_, bytes, left);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) {
      return ErrnoStatus(fmt::format(
          "cannot write {} tokens to a temporary file (TMPDIR names another folder)", tokens()));
    }
    bytes += written;
    left -= static_cast<size_t>(written);
  }
  words_in_file_ += words_.size();
  words_.clear();
  return absl::OkStatus();
}

absl::Status DocumentStore::Read(uint64_t document, uint64_t begin, uint64_t count,
                                 Document& into) const {
  CHOIR_CHECK(document < documents() && begin + count <= TokensOf(document));
  const uint64_t first = begins_[document] + begin;
  std::vector<uint32_t> words(count);
  const uint64_t in_file = first >= words_in_file_ ? 0 : std::min(count, words_in_file_ - first);
  char* bytes = reinterpret_cast<char*>(words.data());
  for (size_t done = 0; done < in_file * sizeof(uint32_t);) {
    const ssize_t got = ::pread(fd_, bytes + done, in_file * sizeof(uint32_t) - done,
                                static_cast<off_t>(first * sizeof(uint32_t) + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus("cannot read the temporary file of the training data");
    if (got == 0) return absl::DataLossError("the temporary file of the training data was cut");
    done += static_cast<size_t>(got);
  }
  for (uint64_t i = in_file; i < count; ++i) words[i] = words_[first + i - words_in_file_];
  for (const uint32_t word : words) {
    into.tokens.push_back(static_cast<int32_t>(word & ~kInLoss));
    into.in_loss.push_back(static_cast<uint8_t>(word >> 31));
  }
  return absl::OkStatus();
}

}  // namespace choir::engine
