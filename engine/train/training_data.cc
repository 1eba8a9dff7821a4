#include "engine/train/training_data.h"

#include <utility>

#include "fmt/format.h"

#include "base/status_macros.h"
#include "engine/backend/backend.h"

namespace choir::engine {
namespace {

Digest DigestOf(std::span<const Document> documents, const TrainingDataOptions& options) {
  Sha256 hash;
  hash.Update(std::string_view("choir/training-data/v1"));
  hash.UpdateU64(static_cast<uint64_t>(options.context_tokens));
  hash.UpdateU64(options.shuffle ? 1 : 0);
  hash.UpdateU64(options.seed);
  for (const Document& document : documents) {
    hash.UpdateU64(document.tokens.size());
    hash.Update(BytesOf(std::span<const int32_t>(document.tokens)));
    hash.Update(std::span<const uint8_t>(document.in_loss));
  }
  return hash.Finish();
}

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
  std::vector<Document> documents;
  if (options.packing == Packing::kWindows) {
    CHOIR_ASSIGN_OR_RETURN(documents, MakeWindows(examples, tokenizer, options));
  } else {
    TokenizeOptions tokenize;
    tokenize.train_on = options.train_on;
    tokenize.append_eos = options.append_eos;
    tokenize.chat_formatter = options.chat_formatter;
    CHOIR_ASSIGN_OR_RETURN(documents, TokenizeExamples(examples, tokenizer, tokenize));
  }
  return PackDocuments(std::move(documents), options);
}

absl::StatusOr<TrainingData> PackDocuments(std::vector<Document> documents,
                                           const TrainingDataOptions& options) {
  const Digest digest = DigestOf(documents, options);
  const uint64_t count = documents.size();
  PackerOptions packer_options;
  packer_options.tokens_per_micro_batch = options.context_tokens;
  packer_options.shuffle = options.shuffle;
  // In the given order, a later document must not slip into an earlier micro-batch.
  if (!options.shuffle) packer_options.open_bins = 1;
  CHOIR_ASSIGN_OR_RETURN(Packer packer,
                         Packer::Create(std::move(documents), packer_options, options.seed));
  return TrainingData{std::move(packer), count, digest};
}

void SkipMicroBatches(Packer& packer, uint64_t count) {
  MicroBatch ignored;
  for (uint64_t i = 0; i < count; ++i) packer.Next(ignored);
}

}  // namespace choir::engine
