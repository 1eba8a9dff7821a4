#include "engine/infer/cached_model.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/train/compute_choice.h"

namespace choir::engine {
namespace {

// A padded piece costs a whole one, so a few tokens are fed one by one instead: below this share of
// a piece. A step reads the weights once, a piece of 64 multiplies for about as long as 8 steps.
constexpr int64_t kStepShare = 8;
// For prompts, and their ends, that are shorter than a whole piece.
constexpr int64_t kSmallPiece = 64;

}  // namespace

std::vector<int64_t> PieceTokens(int64_t prompt_tokens, int64_t context_tokens) {
  const int64_t whole = std::min(prompt_tokens, context_tokens);
  std::vector<int64_t> pieces = {whole};
  if (whole > kSmallPiece) pieces.push_back(kSmallPiece);
  if (whole > 1) pieces.push_back(1);
  return pieces;
}

absl::StatusOr<CachedModel> CachedModel::Create(const Model& model, Backend& backend,
                                                const DeviceModel& weights,
                                                const DeviceAdapter* adapter,
                                                const CachedModelOptions& options) {
  if (options.context_tokens < 2 || options.prompt_tokens < 1) {
    return absl::InvalidArgumentError(
        fmt::format("a context of {} tokens, {} at once, is too small", options.context_tokens,
                    options.prompt_tokens));
  }
  CHOIR_ASSIGN_OR_RETURN(KvCache cache, KvCache::Create(backend, model.spec(),
                                                        options.context_tokens, options.kv_cache));
  CachedModel result(model, std::move(cache));
  result.rows_ = options.context_tokens;
  result.logits_.resize(static_cast<size_t>(model.spec().vocabulary));
  for (const int64_t tokens : PieceTokens(options.prompt_tokens, options.context_tokens)) {
    CHOIR_RETURN_IF_ERROR(result.Compile(weights, adapter, backend, options, tokens));
  }
  return result;
}

absl::Status CachedModel::Compile(const DeviceModel& weights, const DeviceAdapter* adapter,
                                  Backend& backend, const CachedModelOptions& options,
                                  int64_t tokens) {
  Program& program = programs_.emplace_back();
  program.tokens = tokens;
  const AdapterLayout* const layout = adapter == nullptr ? nullptr : &adapter->layout();
  CHOIR_ASSIGN_OR_RETURN(program.graph,
                         BuildCachedGraph(*model_, layout, tokens, rows_, options.kv_cache));
  Bindings bindings;
  weights.Bind(program.graph.graph, bindings);
  if (adapter != nullptr) adapter->Bind(program.graph.graph, bindings);
  cache_.Bind(program.graph.graph, bindings);
  const CompileOptions compile{.compute = ChooseCompute(options.compute, model_->spec())};
  CHOIR_ASSIGN_OR_RETURN(program.executable,
                         backend.Compile(program.graph.graph, bindings, compile));
  return absl::OkStatus();
}

absl::Status CachedModel::Feed(Program& program, std::span<const int32_t> ids, int64_t start) {
  const auto tokens = static_cast<size_t>(program.tokens);
  std::vector<int32_t> padded(tokens, 0);
  std::copy(ids.begin(), ids.end(), padded.begin());
  std::vector<int32_t> positions(tokens);
  std::iota(positions.begin(), positions.end(), static_cast<int32_t>(start));
  const auto start_row = static_cast<int32_t>(start);
  const auto last_row = static_cast<int32_t>(ids.size() - 1);
  Executable& executable = *program.executable;
  const auto write = [&executable](TensorId id, std::span<const int32_t> values) {
    return executable.WriteInput(id, BytesOf(values));
  };
  CHOIR_RETURN_IF_ERROR(write(program.graph.ids, padded));
  CHOIR_RETURN_IF_ERROR(write(program.graph.positions, positions));
  CHOIR_RETURN_IF_ERROR(write(program.graph.start, {&start_row, 1}));
  CHOIR_RETURN_IF_ERROR(write(program.graph.last_row, {&last_row, 1}));
  CHOIR_RETURN_IF_ERROR(executable.Run());
  return executable.ReadOutput(program.graph.logits, MutableBytesOf(std::span<float>(logits_)));
}

// The largest piece that the tokens fill, or the next one if they are worth its padding.
CachedModel::Program& CachedModel::ProgramFor(int64_t tokens, int64_t start) {
  for (size_t i = 0; i + 1 < programs_.size(); ++i) {
    // Padding must not reach beyond the cache's end.
    if (start + programs_[i].tokens > rows_) continue;
    const bool is_smallest = i + 2 == programs_.size();
    const int64_t least = is_smallest ? programs_[i].tokens / kStepShare : programs_[i].tokens;
    if (tokens >= least) return programs_[i];
  }
  return programs_.back();
}

int64_t CachedModel::Held(std::span<const int32_t> ids) const {
  const auto [held_end, ids_end] =
      std::mismatch(held_.begin(), held_.end(), ids.begin(), ids.end());
  return ids_end - ids.begin();
}

absl::StatusOr<std::span<const float>> CachedModel::Logits(std::span<const int32_t> ids) {
  if (ids.empty()) return absl::InvalidArgumentError("there are no tokens");
  if (static_cast<int64_t>(ids.size()) > rows_) {
    return absl::InvalidArgumentError(
        fmt::format("{} tokens do not fit the context of {}", ids.size(), rows_));
  }
  CHOIR_RETURN_IF_ERROR(model_->CheckTokens(ids));
  auto held = static_cast<size_t>(Held(ids));
  if (held == ids.size()) {
    if (held == held_.size()) return logits_;
    --held;  // the last one again, for its logits
  }
  held_.resize(held);  // what an error leaves behind is not trusted
  while (held_.size() < ids.size()) {
    const std::span<const int32_t> rest = ids.subspan(held_.size());
    const auto start = static_cast<int64_t>(held_.size());
    Program& program = ProgramFor(static_cast<int64_t>(rest.size()), start);
    const auto piece = rest.first(std::min(rest.size(), static_cast<size_t>(program.tokens)));
    CHOIR_RETURN_IF_ERROR(Feed(program, piece, start));
    held_.insert(held_.end(), piece.begin(), piece.end());
    processed_tokens_ += static_cast<int64_t>(piece.size());
  }
  return logits_;
}

}  // namespace choir::engine
