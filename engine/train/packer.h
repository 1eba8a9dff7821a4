#ifndef CHOIR_ENGINE_TRAIN_PACKER_H_
#define CHOIR_ENGINE_TRAIN_PACKER_H_

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "base/random.h"
#include "engine/train/dataset.h"
#include "engine/train/document_store.h"

namespace choir::engine {

// The fixed-size input of one training step: T places, each vector of length T. Place t feeds
// token_ids[t] at positions[t] of its segment and predicts targets[t] with loss_weights[t].
// Attention never crosses segment ids. Padding: segment -1, token, position and target 0, weight 0.
struct MicroBatch {
  std::vector<int32_t> token_ids;
  std::vector<int32_t> positions;
  std::vector<int32_t> segment_ids;  // 0, 1, 2, ... within the micro-batch
  std::vector<int32_t> targets;
  std::vector<float> loss_weights;
  int64_t real_tokens = 0;       // places that are no padding
  double total_loss_weight = 0;  // sum of loss_weights
  uint64_t epoch = 0;            // that it belongs to, from 0
  bool last_of_epoch = false;
};

struct PackerOptions {
  int64_t tokens_per_micro_batch = 512;
  // True: the documents' order changes with every epoch, by seed. False: always as given.
  bool shuffle = true;
  // Documents longer than a micro-batch: true splits them into segments (positions from 0 again),
  // false refuses them.
  bool split_long = true;
  // Documents, next to each other in the epoch's order, that are packed together (PackBins). 1
  // packs in strict order.
  int64_t window = 1024;
  // False: every document gets a micro-batch of its own (evaluation that must not depend on
  // packing).
  bool pack = true;
};

// Where the packer stands; with the same documents and options it goes on exactly from there.
struct PackerState {
  uint64_t seed = 0;
  uint64_t epoch = 0;
  uint64_t position = 0;  // micro-batches of this epoch that were handed out
  friend bool operator==(const PackerState&, const PackerState&) = default;

  // "choir-packer 3 SEED EPOCH POSITION", and back. DATA_LOSS if it is not that.
  [[nodiscard]] std::string Serialize() const;
  static absl::StatusOr<PackerState> Parse(std::string_view text);
};

// Packs documents into micro-batches, epoch after epoch, without end. A document of n tokens takes
// n - 1 places; a split piece that has nothing to predict is left out, as no other piece sees it.
// So every micro-batch has total_loss_weight > 0. The plan of an epoch depends on (documents,
// options, seed, epoch) only. Copies share the documents. Not thread-safe.
class Packer {
 public:
  // INVALID_ARGUMENT: no documents, a document too long with split_long = false, options out of
  // range. The errors of DocumentStore::Read.
  static absl::StatusOr<Packer> Create(std::shared_ptr<const DocumentStore> documents,
                                       const PackerOptions& options, uint64_t seed);
  // The same for documents in memory. Also INVALID_ARGUMENT: one that a DocumentStore refuses.
  static absl::StatusOr<Packer> Create(std::span<const Document> documents,
                                       const PackerOptions& options, uint64_t seed);

  // Fills the next micro-batch. The errors of DocumentStore::Read.
  absl::Status Next(MicroBatch& batch);

  // Of the current epoch; other epochs may differ a little, as the order changes what fits
  // together.
  [[nodiscard]] uint64_t MicroBatchesInEpoch() const { return plan_.size(); }
  // Places that are no padding in one epoch.
  [[nodiscard]] uint64_t TokensPerEpoch() const { return tokens_per_epoch_; }

  [[nodiscard]] const PackerState& state() const { return state_; }
  // INVALID_ARGUMENT if the position lies beyond that epoch's end: other documents or options.
  absl::Status Restore(const PackerState& state);

 private:
  // Inputs [begin, begin + count) of one document.
  struct Piece {
    uint32_t document = 0;
    uint32_t begin = 0;
    uint32_t count = 0;
  };
  using Bin = std::vector<Piece>;

  Packer(std::shared_ptr<const DocumentStore> documents, const PackerOptions& options)
      : documents_(std::move(documents)), options_(options) {}
  // Finds the pieces of all documents.
  absl::Status CutDocuments();
  // Those of one document that have something to predict, in order.
  void CutDocument(uint32_t index, const Document& document);
  [[nodiscard]] std::vector<Piece> OrderPieces(SeededRng& rng) const;
  [[nodiscard]] std::vector<Bin> PlanEpoch(uint64_t seed, uint64_t epoch) const;
  [[nodiscard]] std::vector<Bin> InOrder(std::span<const Piece> pieces) const;
  [[nodiscard]] std::vector<Bin> PackTogether(std::span<const Piece> pieces, SeededRng& rng) const;
  absl::Status AppendPiece(const Piece& piece, int32_t segment, MicroBatch& batch) const;

  std::shared_ptr<const DocumentStore> documents_;
  PackerOptions options_;
  // Of all documents, in their order. Those of document i begin at first_piece_[i].
  std::vector<Piece> pieces_;
  std::vector<uint64_t> first_piece_;
  uint64_t tokens_per_epoch_ = 0;
  PackerState state_;
  std::vector<Bin> plan_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_TRAIN_PACKER_H_
