#ifndef CHOIR_ENGINE_TRAIN_TRAINING_DATA_H_
#define CHOIR_ENGINE_TRAIN_TRAINING_DATA_H_

// From examples to micro-batches: the one way in which `choir train`, `choir eval` and a node's
// worker turn text into what the graphs are fed.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/sha256.h"
#include "engine/tokenizer/tokenizer.h"
#include "engine/train/dataset.h"
#include "engine/train/packer.h"

namespace choir::engine {

enum class Packing : uint8_t {
  // Each example is a document; several share a micro-batch, and never see each other.
  kPacked,
  // All texts are one stream, cut into documents of BOS and `context_tokens` tokens: how language
  // models are compared on running text. Needs text or prompt and completion.
  kWindows,
};
// "packed" or "windows"; INVALID_ARGUMENT.
absl::StatusOr<Packing> ParsePacking(std::string_view name);
// "all" or "completion"; INVALID_ARGUMENT.
absl::StatusOr<TrainOn> ParseTrainOn(std::string_view name);

struct TrainingDataOptions {
  Packing packing = Packing::kPacked;
  int64_t context_tokens = 512;
  TrainOn train_on = TrainOn::kAll;  // kWindows: always all
  // End each packed document with EOS.
  bool append_eos = true;
  // Another order in every epoch, by seed. Windows are best left in order where results are
  // compared.
  bool shuffle = true;
  uint64_t seed = 0;
  // kWindows: keep a last window that is not full.
  bool keep_tail = false;
  ChatFormatter chat_formatter{};
};

struct TrainingData {
  Packer packer;
  uint64_t documents = 0;
  // Of documents, their loss masks and the options: two runs with equal digests read equal batches.
  Digest digest{};
};

// Turns examples into documents and these into micro-batches. INVALID_ARGUMENT: nothing to train
// on, or an example that does not fit the options.
absl::StatusOr<TrainingData> PrepareTrainingData(std::span<const Example> examples,
                                                 const Tokenizer& tokenizer,
                                                 const TrainingDataOptions& options);
// The same from a file or folder (VisitExamples): with kPacked neither texts nor tokens are all in
// memory at once.
absl::StatusOr<TrainingData> ReadTrainingData(const std::string& path,
                                              const DatasetOptions& reading,
                                              const Tokenizer& tokenizer,
                                              const TrainingDataOptions& options,
                                              DatasetReport* report = nullptr);
// The same for documents that are tokenised already.
absl::StatusOr<TrainingData> PackDocuments(const std::vector<Document>& documents,
                                           const TrainingDataOptions& options);

// Passes over `count` micro-batches: a node that goes on where its last round of a run stopped.
// The errors of Packer::Next.
absl::Status SkipMicroBatches(Packer& packer, uint64_t count);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_TRAINING_DATA_H_
