#ifndef CHOIR_ENGINE_TRAIN_DOCUMENT_STORE_H_
#define CHOIR_ENGINE_TRAIN_DOCUMENT_STORE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"

#include "engine/train/dataset.h"

namespace choir::engine {

struct DocumentStoreOptions {
  // Four bytes each; more than this go to a temporary file.
  uint64_t tokens_in_memory = uint64_t{16} << 20;
  // Where that file is made, with no name that another process could open; empty: TMPDIR, or
  // /var/tmp (which is on a disk where /tmp may be memory).
  std::string folder{};
};

// Tokenised documents, of which only places are kept in memory (16 bytes a document) once there are
// many: training data may be larger than memory. Read with random access; thread-safe for reading.
class DocumentStore {
 public:
  explicit DocumentStore(DocumentStoreOptions options = {});
  DocumentStore(const DocumentStore&) = delete;
  DocumentStore& operator=(const DocumentStore&) = delete;
  ~DocumentStore();

  // INVALID_ARGUMENT: a document of fewer than two tokens, with another number of loss marks, or
  // with nothing to predict. The error of a temporary file that cannot be written.
  absl::Status Append(const Document& document);

  [[nodiscard]] uint64_t documents() const { return begins_.size() - 1; }
  [[nodiscard]] uint64_t tokens() const { return begins_.back(); }
  [[nodiscard]] uint64_t TokensOf(uint64_t document) const {
    return begins_[document + 1] - begins_[document];
  }
  [[nodiscard]] bool in_memory() const { return fd_ < 0; }

  // Tokens [begin, begin + count) of a document, appended to `into`. UNAVAILABLE or DATA_LOSS:
  // the temporary file cannot be read.
  absl::Status Read(uint64_t document, uint64_t begin, uint64_t count, Document& into) const;

 private:
  absl::Status SpillToFile();
  absl::Status WriteBuffer();

  DocumentStoreOptions options_;
  // A token a word; the highest bit says that it is to be predicted.
  std::vector<uint32_t> words_;         // all, or those that are not in the file yet
  std::vector<uint64_t> begins_ = {0};  // of each document, and the end of the last one
  int fd_ = -1;
  uint64_t words_in_file_ = 0;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_DOCUMENT_STORE_H_
