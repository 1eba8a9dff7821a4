#include "engine/train/packer.h"

#include <algorithm>
#include <charconv>
#include <iterator>
#include <limits>
#include <numeric>
#include <optional>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/train/bin_packing.h"

namespace choir::engine {
namespace {

constexpr int64_t kMaxTokensPerMicroBatch = int64_t{1} << 20;

absl::Status CheckOptions(const PackerOptions& options) {
  if (options.tokens_per_micro_batch < 1 ||
      options.tokens_per_micro_batch > kMaxTokensPerMicroBatch) {
    return absl::InvalidArgumentError(fmt::format("{} tokens per micro-batch are outside 1 to {}",
                                                  options.tokens_per_micro_batch,
                                                  kMaxTokensPerMicroBatch));
  }
  if (options.window < 1) {
    return absl::InvalidArgumentError(
        fmt::format("{} documents are packed together: at least one is needed", options.window));
  }
  return absl::OkStatus();
}

absl::Status CheckLength(uint64_t tokens, size_t index, const PackerOptions& options) {
  const auto places = static_cast<int64_t>(tokens) - 1;
  if (options.split_long || places <= options.tokens_per_micro_batch) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("document {} needs {} tokens, a micro-batch has {}: raise its size or let long "
                  "documents be split",
                  index, places, options.tokens_per_micro_batch));
}

// One seed an epoch, so that an epoch's order does not depend on those before it.
uint64_t EpochSeed(uint64_t seed, uint64_t epoch) {
  SeededRng rng(seed ^ (epoch * 0xd1342543de82ef95u));
  return rng.NextU64();
}

template <typename T>
void Shuffle(std::vector<T>& items, SeededRng& rng) {
  for (size_t i = items.size(); i > 1; --i) std::swap(items[i - 1], items[rng.NextBelow(i)]);
}

std::optional<uint64_t> TakeNumber(std::string_view& text) {
  if (text.empty() || text.front() != ' ') return std::nullopt;
  uint64_t value = 0;
  const auto parsed = std::from_chars(text.data() + 1, text.data() + text.size(), value);
  if (parsed.ec != std::errc()) return std::nullopt;
  text.remove_prefix(static_cast<size_t>(parsed.ptr - text.data()));
  return value;
}

}  // namespace

std::string PackerState::Serialize() const {
  return fmt::format("choir-packer 3 {} {} {}", seed, epoch, position);
}

absl::StatusOr<PackerState> PackerState::Parse(std::string_view text) {
  constexpr std::string_view kHead = "choir-packer 3";
  if (text.starts_with(kHead)) {
    text.remove_prefix(kHead.size());
    const std::optional<uint64_t> seed = TakeNumber(text);
    const std::optional<uint64_t> epoch = TakeNumber(text);
    const std::optional<uint64_t> position = TakeNumber(text);
    if (seed.has_value() && epoch.has_value() && position.has_value() && text.empty()) {
      return PackerState{*seed, *epoch, *position};
    }
  }
  return absl::DataLossError("the saved place in the training data cannot be read");
}

absl::StatusOr<Packer> Packer::Create(std::shared_ptr<const DocumentStore> documents,
                                      const PackerOptions& options, uint64_t seed) {
  CHOIR_RETURN_IF_ERROR(CheckOptions(options));
  const uint64_t count = documents->documents();
  if (count == 0) return absl::InvalidArgumentError("there is no document to train on");
  if (count > std::numeric_limits<uint32_t>::max()) {
    return absl::InvalidArgumentError(fmt::format("{} documents are too many", count));
  }
  Packer packer(std::move(documents), options);
  CHOIR_RETURN_IF_ERROR(packer.CutDocuments());
  packer.state_.seed = seed;
  packer.plan_ = packer.PlanEpoch(seed, 0);
  return packer;
}

absl::StatusOr<Packer> Packer::Create(std::span<const Document> documents,
                                      const PackerOptions& options, uint64_t seed) {
  auto store = std::make_shared<DocumentStore>();
  for (const Document& document : documents) CHOIR_RETURN_IF_ERROR(store->Append(document));
  return Create(std::move(store), options, seed);
}

absl::Status Packer::CutDocuments() {
  const auto count = static_cast<uint32_t>(documents_->documents());
  first_piece_.reserve(count + size_t{1});
  Document document;
  for (uint32_t i = 0; i < count; ++i) {
    CHOIR_RETURN_IF_ERROR(CheckLength(documents_->TokensOf(i), i, options_));
    document.tokens.clear();
    document.in_loss.clear();
    CHOIR_RETURN_IF_ERROR(documents_->Read(i, 0, documents_->TokensOf(i), document));
    first_piece_.push_back(pieces_.size());
    CutDocument(i, document);
  }
  first_piece_.push_back(pieces_.size());
  for (const Piece& piece : pieces_) tokens_per_epoch_ += piece.count;
  return absl::OkStatus();
}

void Packer::CutDocument(uint32_t index, const Document& document) {
  const auto places = static_cast<uint32_t>(document.in_loss.size() - 1);
  const auto capacity = static_cast<uint32_t>(options_.tokens_per_micro_batch);
  for (uint32_t begin = 0; begin < places;) {
    const uint32_t count = std::min(capacity, places - begin);
    const auto targets = document.in_loss.begin() + begin + 1;
    if (std::any_of(targets, targets + count, [](uint8_t mark) { return mark != 0; })) {
      pieces_.push_back({index, begin, count});
    }
    begin += count;
  }
}

std::vector<Packer::Piece> Packer::OrderPieces(SeededRng& rng) const {
  std::vector<uint32_t> order(documents_->documents());
  std::iota(order.begin(), order.end(), 0u);
  if (options_.shuffle) Shuffle(order, rng);
  std::vector<Piece> pieces;
  pieces.reserve(pieces_.size());
  for (const uint32_t document : order) {
    for (uint64_t i = first_piece_[document]; i < first_piece_[document + size_t{1}]; ++i) {
      pieces.push_back(pieces_[i]);
    }
  }
  return pieces;
}

// Each piece behind the one before it, or into a micro-batch of its own.
std::vector<Packer::Bin> Packer::InOrder(std::span<const Piece> pieces) const {
  std::vector<Bin> bins;
  int64_t room = 0;  // of the last bin
  for (const Piece& piece : pieces) {
    if (!options_.pack || room < int64_t{piece.count}) {
      bins.emplace_back();
      room = options_.tokens_per_micro_batch;
    }
    bins.back().push_back(piece);
    room -= int64_t{piece.count};
  }
  return bins;
}

// Equal lengths do not put the same documents together in every epoch: pieces come in its order.
std::vector<Packer::Bin> Packer::PackTogether(std::span<const Piece> pieces, SeededRng& rng) const {
  std::vector<uint32_t> sizes;
  sizes.reserve(pieces.size());
  for (const Piece& piece : pieces) sizes.push_back(piece.count);
  const auto capacity = static_cast<uint32_t>(options_.tokens_per_micro_batch);
  std::vector<Bin> bins;
  for (const std::vector<uint32_t>& things : PackBins(sizes, capacity, rng)) {
    Bin& bin = bins.emplace_back();
    for (const uint32_t thing : things) bin.push_back(pieces[thing]);
  }
  return bins;
}

// Windows of about equal size, so that the last one has as much to choose from as the others. Their
// micro-batches are shuffled: those with the longest documents come first.
std::vector<Packer::Bin> Packer::PlanEpoch(uint64_t seed, uint64_t epoch) const {
  SeededRng rng(EpochSeed(seed, epoch));
  const std::vector<Piece> pieces = OrderPieces(rng);
  if (!options_.pack || options_.window == 1) return InOrder(pieces);
  const auto window = static_cast<size_t>(options_.window);
  const size_t windows = (pieces.size() + window - 1) / window;
  std::vector<Bin> plan;
  for (size_t i = 0; i < windows; ++i) {
    const size_t begin = pieces.size() * i / windows;
    const size_t end = pieces.size() * (i + 1) / windows;
    // Without shuffling every epoch is the same.
    SeededRng packing(options_.shuffle ? rng.NextU64() : 0);
    std::vector<Bin> bins = PackTogether(std::span(pieces).subspan(begin, end - begin), packing);
    if (options_.shuffle) Shuffle(bins, rng);
    std::move(bins.begin(), bins.end(), std::back_inserter(plan));
  }
  return plan;
}

absl::Status Packer::AppendPiece(const Piece& piece, int32_t segment, MicroBatch& batch) const {
  Document document;
  CHOIR_RETURN_IF_ERROR(
      documents_->Read(piece.document, piece.begin, uint64_t{piece.count} + 1, document));
  for (uint32_t i = 0; i < piece.count; ++i) {
    const float weight = document.in_loss[i + 1] != 0 ? 1.0f : 0.0f;
    batch.token_ids.push_back(document.tokens[i]);
    batch.positions.push_back(static_cast<int32_t>(i));
    batch.segment_ids.push_back(segment);
    batch.targets.push_back(document.tokens[i + 1]);
    batch.loss_weights.push_back(weight);
    batch.total_loss_weight += static_cast<double>(weight);
  }
  return absl::OkStatus();
}

absl::Status Packer::Next(MicroBatch& batch) {
  if (state_.position == plan_.size()) {
    ++state_.epoch;
    state_.position = 0;
    plan_ = PlanEpoch(state_.seed, state_.epoch);
  }
  batch.token_ids.clear();
  batch.positions.clear();
  batch.segment_ids.clear();
  batch.targets.clear();
  batch.loss_weights.clear();
  batch.total_loss_weight = 0;
  int32_t segment = 0;
  for (const Piece& piece : plan_[state_.position]) {
    CHOIR_RETURN_IF_ERROR(AppendPiece(piece, segment++, batch));
  }
  const auto size = static_cast<size_t>(options_.tokens_per_micro_batch);
  batch.real_tokens = static_cast<int64_t>(batch.token_ids.size());
  batch.token_ids.resize(size, 0);
  batch.positions.resize(size, 0);
  batch.segment_ids.resize(size, -1);
  batch.targets.resize(size, 0);
  batch.loss_weights.resize(size, 0.0f);
  ++state_.position;
  batch.epoch = state_.epoch;
  batch.last_of_epoch = state_.position == plan_.size();
  return absl::OkStatus();
}

absl::Status Packer::Restore(const PackerState& state) {
  std::vector<Bin> plan = PlanEpoch(state.seed, state.epoch);
  if (state.position > plan.size()) {
    return absl::InvalidArgumentError(
        fmt::format("the saved place is micro-batch {} of epoch {}, which has {}: the data or the "
                    "packing changed",
                    state.position, state.epoch, plan.size()));
  }
  state_ = state;
  plan_ = std::move(plan);
  return absl::OkStatus();
}

}  // namespace choir::engine
