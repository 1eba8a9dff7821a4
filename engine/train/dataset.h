#ifndef CHOIR_ENGINE_TRAIN_DATASET_H_
#define CHOIR_ENGINE_TRAIN_DATASET_H_

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/tokenizer/tokenizer.h"
#include "engine/train/example.h"
#include "engine/train/example_digest.h"

namespace choir::engine {

// What is read in one go has a limit below that of what is streamed.
inline constexpr uint64_t kMaxBytesInMemory = uint64_t{1} << 30;
inline constexpr uint64_t kMaxStreamedBytes = uint64_t{1} << 42;

struct DatasetOptions {
  // True: leave out lines that cannot be read and report them. False: the first one is an error.
  bool skip_bad_lines = false;
  uint64_t max_bytes = kMaxBytesInMemory;       // of all files together
  uint64_t max_text_bytes = kMaxBytesInMemory;  // of a text or Markdown file: it is one example
  uint64_t max_line_bytes = uint64_t{16} << 20;
  uint64_t max_examples = uint64_t{10} << 20;
  // True: an example that says exactly what an earlier one said is left out (by SHA-256).
  bool deduplicate = false;
  // Asked for each example, in order: false leaves it out. Empty: all are taken.
  std::function<bool(const ExampleDigest&)> take{};
};

// A line that was left out. Holds no text of the line: reports are logged, training data is not.
struct BadLine {
  std::string file;
  uint64_t line = 0;  // from 1; 0 for the whole file
  std::string reason;
};

struct DatasetReport {
  uint64_t files = 0;
  uint64_t bytes = 0;  // read, without line breaks
  uint64_t examples = 0;
  uint64_t duplicates = 0;  // left out by DatasetOptions::deduplicate
  uint64_t not_taken = 0;   // left out by DatasetOptions::take
  uint64_t bad_lines = 0;
  std::map<std::string, uint64_t> bad_lines_by_file;
  std::vector<BadLine> first_bad_lines;  // at most 100
  // Files in the folder that are no data by their names.
  uint64_t other_files = 0;
  std::vector<std::string> first_other_files;  // at most 100
};

// Where an example was read.
struct ExampleOrigin {
  const std::string& file;
  uint64_t line = 0;   // from 1; 0 for a whole file
  uint64_t bytes = 0;  // of the line or the file
};
using ExampleVisitor = std::function<absl::Status(Example example, const ExampleOrigin& origin)>;

// Reads a file (*.jsonl a record a line; *.txt, *.md one example) or a folder of such files, all
// its levels, in the order of their paths, and tells `visit` each example: one line is in memory at
// a time, so that JSONL may be larger than memory. INVALID_ARGUMENT: a bad line ("FILE:LINE:
// reason"), no example at all. RESOURCE_EXHAUSTED: a limit. NOT_FOUND: no such path. Errors of
// `visit`. `report` is filled in any case.
absl::Status VisitExamples(const std::string& path, const DatasetOptions& options,
                           const ExampleVisitor& visit, DatasetReport* report = nullptr);

// The same, of all examples at once.
absl::StatusOr<std::vector<Example>> ReadExamples(const std::string& path,
                                                  const DatasetOptions& options = {},
                                                  DatasetReport* report = nullptr);

// A tokenised document. in_loss[i] says whether token i is to be predicted (never the first one).
struct Document {
  std::vector<int32_t> tokens;
  std::vector<uint8_t> in_loss;
};

enum class TrainOn {
  kAll,         // every token is predicted
  kCompletion,  // only completions and the assistant's messages
};

// A stretch of a rendered conversation. `markup` text is the template's own, in which control
// tokens are recognised; content never is.
struct ChatSpan {
  std::string text;
  bool markup = false;
  bool in_loss = false;  // written by the assistant
};
using ChatFormatter =
    std::function<absl::StatusOr<std::vector<ChatSpan>>(std::span<const ChatMessage>)>;

struct TokenizeOptions {
  TrainOn train_on = TrainOn::kAll;
  // End documents with EOS, so that the model learns to stop.
  bool append_eos = true;
  // Needed for examples in the form of messages.
  ChatFormatter chat_formatter = {};
};

// Is there a token to predict?
bool HasTarget(const Document& document);

// One document: [BOS] text [EOS], or [BOS] prompt completion [EOS]; prompt and completion are
// tokenised apart, as they will be when the model is used. With kCompletion a plain text counts as
// completion. FAILED_PRECONDITION: messages without a chat formatter.
absl::StatusOr<Document> TokenizeExample(const Example& example, const Tokenizer& tokenizer,
                                         const TokenizeOptions& options);
// All of them; documents without anything to predict are left out. INVALID_ARGUMENT if none
// remains.
absl::StatusOr<std::vector<Document>> TokenizeExamples(std::span<const Example> examples,
                                                       const Tokenizer& tokenizer,
                                                       const TokenizeOptions& options);

// All texts (prompt + completion where there is no text) joined with `separator` and tokenised as
// one stream, without BOS or EOS: the input of CutWindows. FAILED_PRECONDITION on messages.
absl::StatusOr<std::vector<int32_t>> TokenizeJoined(std::span<const Example> examples,
                                                    std::string_view separator,
                                                    const Tokenizer& tokenizer);

// Documents of [BOS] and `window` tokens each, all predicted; what is left at the end makes a
// shorter one if `keep_tail`. INVALID_ARGUMENT for window < 1 or fewer tokens than one document
// needs.
absl::StatusOr<std::vector<Document>> CutWindows(std::span<const int32_t> tokens, int32_t bos,
                                                 int64_t window, bool keep_tail);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_DATASET_H_
