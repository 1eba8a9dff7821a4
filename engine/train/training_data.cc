#include "engine/train/training_data.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "fmt/format.h"

#include "base/status_macros.h"
#include "engine/backend/backend.h"

namespace choir::engine {
namespace {

// Stores documents as they come, and what they say as a digest.
class TrainingDataBuilder {
 public:
  explicit TrainingDataBuilder(const TrainingDataOptions& options)
      : options_(options), store_(std::make_shared<DocumentStore>()) {
    hash_.Update(std::string_view("choir/training-data/v1"));
    hash_.UpdateU64(static_cast<uint64_t>(options.context_tokens));
    hash_.UpdateU64(options.shuffle ? 1 : 0);
    hash_.UpdateU64(options.seed);
  }

  absl::Status Append(const Document& document) {
    hash_.UpdateU64(document.tokens.size());
    hash_.Update(BytesOf(std::span<const int32_t>(document.tokens)));
    hash_.Update(std::span<const uint8_t>(document.in_loss));
    return store_->Append(document);
  }

  // Examples without anything to predict are left out.
  absl::Status Tokenize(const Example& example, const Tokenizer& tokenizer) {
    const TokenizeOptions tokenize{.train_on = options_.train_on,
                                   .append_eos = options_.append_eos,
                                   .chat_formatter = options_.chat_formatter};
    CHOIR_ASSIGN_OR_RETURN(const Document document, TokenizeExample(example, tokenizer, tokenize));
    ++examples_;
    return HasTarget(document) ? Append(document) : absl::OkStatus();
  }

  absl::StatusOr<TrainingData> Finish() {
    const uint64_t count = store_->documents();
    if (count == 0 && examples_ > 0) {
      return absl::InvalidArgumentError(
          fmt::format("none of the {} examples has a token to predict", examples_));
    }
    PackerOptions packer_options;
    packer_options.tokens_per_micro_batch = options_.context_tokens;
    packer_options.shuffle = options_.shuffle;
    // In the given order, a later document must not slip into an earlier micro-batch.
    if (!options_.shuffle) packer_options.window = 1;
    CHOIR_ASSIGN_OR_RETURN(Packer packer,
                           Packer::Create(std::move(store_), packer_options, options_.seed));
    return TrainingData{std::move(packer), count, hash_.Finish()};
  }

 private:
  const TrainingDataOptions& options_;
  std::shared_ptr<DocumentStore> store_;
  Sha256 hash_;
  uint64_t examples_ = 0;
};

absl::StatusOr<std::vector<Document>> MakeWindows(std::span<const Example> examples,
                                                  const Tokenizer& tokenizer,
                                                  const TrainingDataOptions& options) {
  const std::optional<int32_t> bos = tokenizer.special().bos;
  if (!bos.has_value()) {
    return absl::FailedPreconditionError(
        "windows begin with BOS, and this model has no such token; use packed");
  }
  CHOIR_ASSIGN_OR_RETURN(const std::vector<int32_t> stream,
                         TokenizeJoined(examples, "\n", tokenizer));
  return CutWindows(stream, *bos, options.context_tokens, options.keep_tail);
}

}  // namespace

absl::StatusOr<Packing> ParsePacking(std::string_view name) {
  if (name == "packed") return Packing::kPacked;
  if (name == "windows") return Packing::kWindows;
  return absl::InvalidArgumentError(fmt::format("packing '{}' is not packed or windows", name));
}

absl::StatusOr<TrainOn> ParseTrainOn(std::string_view name) {
  if (name == "all") return TrainOn::kAll;
  if (name == "completion") return TrainOn::kCompletion;
  return absl::InvalidArgumentError(fmt::format("train on '{}' is not all or completion", name));
}

absl::StatusOr<TrainingData> PrepareTrainingData(std::span<const Example> examples,
                                                 const Tokenizer& tokenizer,
                                                 const TrainingDataOptions& options) {
  if (options.packing == Packing::kWindows) {
    CHOIR_ASSIGN_OR_RETURN(const std::vector<Document> windows,
                           MakeWindows(examples, tokenizer, options));
    return PackDocuments(windows, options);
  }
  TrainingDataBuilder builder(options);
  for (const Example& example : examples) {
    CHOIR_RETURN_IF_ERROR(builder.Tokenize(example, tokenizer));
  }
  return builder.Finish();
}

absl::StatusOr<TrainingData> ReadTrainingData(const std::string& path,
                                              const DatasetOptions& reading,
                                              const Tokenizer& tokenizer,
                                              const TrainingDataOptions& options,
                                              DatasetReport* report) {
  if (options.packing == Packing::kWindows) {
    DatasetOptions in_memory = reading;  // one stream, which is tokenised as a whole
    in_memory.max_bytes = std::min(reading.max_bytes, kMaxBytesInMemory);
    CHOIR_ASSIGN_OR_RETURN(const std::vector<Example> examples,
                           ReadExamples(path, in_memory, report));
    return PrepareTrainingData(examples, tokenizer, options);
  }
  TrainingDataBuilder builder(options);
  const auto tokenize = [&](const Example& example, const ExampleOrigin& origin) {
    const absl::Status status = builder.Tokenize(example, tokenizer);
    // What is wrong with the example has its place; a disk that is full has none.
    if (!absl::IsInvalidArgument(status) && !absl::IsFailedPrecondition(status)) return status;
    const std::string place =
        origin.line == 0 ? origin.file : fmt::format("{}:{}", origin.file, origin.line);
    return absl::Status(status.code(), fmt::format("{}: {}", place, std::string(status.message())));
  };
  CHOIR_RETURN_IF_ERROR(VisitExamples(path, reading, tokenize, report));
  return builder.Finish();
}

absl::StatusOr<TrainingData> PackDocuments(const std::vector<Document>& documents,
                                           const TrainingDataOptions& options) {
  TrainingDataBuilder builder(options);
  for (const Document& document : documents) CHOIR_RETURN_IF_ERROR(builder.Append(document));
  return builder.Finish();
}

absl::Status SkipMicroBatches(Packer& packer, uint64_t count) {
  MicroBatch ignored;
  for (uint64_t i = 0; i < count; ++i) CHOIR_RETURN_IF_ERROR(packer.Next(ignored));
  return absl::OkStatus();
}

}  // namespace choir::engine
