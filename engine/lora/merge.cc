#include "engine/lora/merge.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/gguf/gguf_writer.h"

namespace choir::engine {
namespace {

// A tensor's rows with the adapter in them.
class MergedRows {
 public:
  MergedRows(const GgufTensor& base, const LoraPair& pair, float scale, const WeightFormat& from,
             const WeightFormat& to)
      : base_(base), pair_(pair), scale_(scale), from_(from), to_(to) {}

  absl::Status WriteTo(const GgufWriter::ByteSink& sink) const {
    const auto cols = static_cast<size_t>(pair_.cols);
    const size_t row_bytes = from_.RowBytes(cols);
    std::vector<float> row(cols);
    std::vector<double> sum(cols);
    std::vector<uint8_t> encoded(to_.RowBytes(cols));
    for (size_t r = 0; r < static_cast<size_t>(pair_.rows); ++r) {
      from_.dequantize_row(base_.bytes.subspan(r * row_bytes, row_bytes), row);
      std::copy(row.begin(), row.end(), sum.begin());
      AddDelta(r, sum);
      std::transform(sum.begin(), sum.end(), row.begin(),
                     [](double v) { return static_cast<float>(v); });
      to_.quantize_row(row, encoded);
      CHOIR_RETURN_IF_ERROR(sink(encoded));
    }
    return absl::OkStatus();
  }

 private:
  void AddDelta(size_t row, std::span<double> sum) const {
    const auto rank = static_cast<size_t>(pair_.rank);
    for (size_t k = 0; k < rank; ++k) {
      const double factor =
          static_cast<double>(scale_) * static_cast<double>(pair_.b[row * rank + k]);
      const float* a = pair_.a.data() + k * sum.size();
      for (size_t c = 0; c < sum.size(); ++c) sum[c] += factor * static_cast<double>(a[c]);
    }
  }

  const GgufTensor& base_;
  const LoraPair& pair_;
  float scale_;
  const WeightFormat& from_;
  const WeightFormat& to_;
};

absl::Status CheckWritable(const GgufTensor& tensor, const WeightFormat& from,
                           const WeightFormat& to) {
  if (to.quantize_row == nullptr) {
    return absl::UnimplementedError(
        fmt::format("{}: {} can be read, but not written; choose another type for the adapted "
                    "tensors",
                    tensor.name, to.name));
  }
  if (to.name.starts_with("TQ")) {
    return absl::InvalidArgumentError(fmt::format(
        "{} is {}: rounding the sum to three values would undo the adapter; choose another type "
        "for the adapted tensors, as F16",
        tensor.name, from.name));
  }
  if (tensor.row_elements() % to.block_elements == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{}: rows of {} are no whole blocks of {} ({})",
                                                tensor.name, tensor.row_elements(),
                                                to.block_elements, to.name));
}

absl::Status AddMerged(const GgufTensor& tensor, const Adapter& adapter, const LoraPair& pair,
                       const WeightFormat* format, GgufWriter& writer) {
  CHOIR_ASSIGN_OR_RETURN(const WeightFormat* from, GetWeightFormat(tensor.type));
  const WeightFormat& to = format != nullptr ? *format : *from;
  CHOIR_RETURN_IF_ERROR(CheckWritable(tensor, *from, to));
  const MergedRows rows(tensor, pair, adapter.Scale(pair), *from, to);
  return writer.AddTensor(tensor.name, to.type_id, std::span(tensor.dims).first(tensor.num_dims),
                          [rows](const GgufWriter::ByteSink& sink) { return rows.WriteTo(sink); });
}

absl::Status CheckTargets(const GgufFile& base, const Adapter& adapter) {
  CHOIR_RETURN_IF_ERROR(ValidateAdapter(adapter));
  std::vector<LoraTarget> targets;
  const bool tied = base.FindTensor(kOutputTensor) == nullptr;
  for (const GgufTensor& tensor : base.tensors()) {
    if (tensor.num_dims != 2 || (tied && tensor.name == kTokenEmbdTensor)) continue;
    targets.push_back({tensor.name, static_cast<int64_t>(tensor.num_rows()),
                       static_cast<int64_t>(tensor.row_elements())});
  }
  return CheckAdapterFits(adapter, targets);
}

// The pair's B times `factor`.
LoraPair Scaled(const LoraPair& pair, float factor) {
  LoraPair out = pair;
  out.alpha = 0.0f;
  for (float& v : out.b) v *= factor;
  return out;
}

// x and y side by side: A (rank_x + rank_y, cols), B (rows, rank_x + rank_y).
absl::StatusOr<LoraPair> SideBySide(const LoraPair& x, const LoraPair& y) {
  if (x.rows != y.rows || x.cols != y.cols) {
    return absl::InvalidArgumentError(
        fmt::format("adapters for different base models: {} is {} x {} in one and {} x {} in "
                    "another",
                    x.name, x.rows, x.cols, y.rows, y.cols));
  }
  LoraPair out{x.name, x.rows, x.cols, x.rank + y.rank, x.a, {}};
  out.a.insert(out.a.end(), y.a.begin(), y.a.end());
  out.b.reserve(x.b.size() + y.b.size());
  for (int64_t row = 0; row < x.rows; ++row) {
    for (const LoraPair* part : {&x, &y}) {
      const auto from = part->b.begin() + row * part->rank;
      out.b.insert(out.b.end(), from, from + part->rank);
    }
  }
  return out;
}

}  // namespace

absl::Status MergeIntoModel(const GgufFile& base, const Adapter& adapter,
                            const WeightFormat* format, const std::string& output) {
  CHOIR_RETURN_IF_ERROR(CheckTargets(base, adapter));
  GgufWriter writer(static_cast<uint32_t>(base.alignment()));
  for (const GgufEntry& entry : base.entries()) writer.SetEntry(entry);
  for (const GgufTensor& tensor : base.tensors()) {
    const LoraPair* pair = adapter.Find(tensor.name);
    CHOIR_RETURN_IF_ERROR(pair != nullptr
                              ? AddMerged(tensor, adapter, *pair, format, writer)
                              : writer.AddTensor(tensor.name, tensor.type,
                                                 std::span(tensor.dims).first(tensor.num_dims),
                                                 tensor.bytes));
  }
  return writer.WriteFile(output);
}

absl::StatusOr<Adapter> StackAdapters(std::span<const WeightedAdapter> adapters) {
  if (adapters.empty()) return absl::InvalidArgumentError("there is no adapter to stack");
  if (adapters.size() == 1 && adapters[0].weight == 1.0f) return adapters[0].adapter;
  const auto less = [](const std::string& x, const std::string& y) { return CanonicalLess(x, y); };
  std::map<std::string, LoraPair, decltype(less)> stacked(less);
  for (const auto& [adapter, weight] : adapters) {
    CHOIR_RETURN_IF_ERROR(ValidateAdapter(adapter));
    if (!std::isfinite(weight)) {
      return absl::InvalidArgumentError(fmt::format("an adapter's weight is {}", weight));
    }
    if (adapter.architecture != adapters[0].adapter.architecture) {
      return absl::InvalidArgumentError(
          fmt::format("adapters for different architectures: {} and {}",
                      adapters[0].adapter.architecture, adapter.architecture));
    }
    for (const LoraPair& pair : adapter.pairs) {
      LoraPair scaled = Scaled(pair, weight * adapter.Scale(pair));
      const auto [place, is_new] = stacked.try_emplace(pair.name, scaled);
      if (is_new) continue;
      CHOIR_ASSIGN_OR_RETURN(place->second, SideBySide(place->second, scaled));
    }
  }
  Adapter out;
  out.alpha = 0.0f;  // a scale of 1: each B holds its own
  out.architecture = adapters[0].adapter.architecture;
  for (auto& [name, pair] : stacked) out.pairs.push_back(std::move(pair));
  CHOIR_RETURN_IF_ERROR(ValidateAdapter(out));
  return out;
}

}  // namespace choir::engine
