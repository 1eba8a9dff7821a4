#include "engine/convert/quantize_model.h"

#include <algorithm>
#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/convert/row_converter.h"
#include "engine/gguf/gguf_writer.h"

namespace choir::engine {
namespace {

// The version of the block layouts, which readers ask of a quantised file; 2 since May 2023.
constexpr uint32_t kQuantizationVersion = 2;

// What a ternary format may change: the rounding of a block's scale to f16, twice 2^-11 at most.
constexpr double kTernaryRounding = 0x1p-10;

bool IsTernary(const WeightFormat& format) {
  return &format == &kTQ1_0Format || &format == &kTQ2_0Format;
}

// Does a run of whole dotted parts of `name` equal `part`?
bool NameHasPart(std::string_view name, std::string_view part) {
  for (size_t at = name.find(part); at != std::string_view::npos; at = name.find(part, at + 1)) {
    const size_t end = at + part.size();
    if ((at == 0 || name[at - 1] == '.') && (end == name.size() || name[end] == '.')) return true;
  }
  return false;
}

// What becomes of one tensor. Formats are null where it is copied.
struct Plan {
  const GgufTensor* tensor = nullptr;
  const WeightFormat* from = nullptr;
  const WeightFormat* to = nullptr;
  QuantizeReason reason = QuantizeReason::kConverted;
  ConversionError error;

  [[nodiscard]] uint32_t TypeId() const { return to != nullptr ? to->type_id : tensor->type; }
};

class Quantizer {
 public:
  Quantizer(const GgufFile& file, const QuantizeOptions& options, const QuantizeProgress& progress)
      : file_(file), options_(options), progress_(progress) {
    for (const GgufTensor& tensor : file.tensors()) total_bytes_ += tensor.bytes.size();
  }

  absl::Status Check() const;
  // Chooses each tensor's format; reads whole tensors only for the ternary ones.
  absl::Status MakePlans();
  absl::Status Write(const std::string& path);
  [[nodiscard]] QuantizeReport Report() const;

 private:
  absl::StatusOr<Plan> PlanOf(const GgufTensor& tensor);
  absl::StatusOr<bool> StaysTernary(const GgufTensor& tensor, const WeightFormat& from);
  absl::Status WriteTensor(Plan& plan, const GgufWriter::ByteSink& sink);
  absl::Status Tell(const GgufTensor& tensor, uint64_t done_bytes) const;

  const GgufFile& file_;
  const QuantizeOptions& options_;
  const QuantizeProgress& progress_;
  uint64_t total_bytes_ = 0;
  uint64_t done_bytes_ = 0;
  std::vector<Plan> plans_;
};

absl::Status Quantizer::Check() const {
  if (options_.format == nullptr || options_.format->quantize_row == nullptr) {
    return absl::InvalidArgumentError("this weight format can be read, not written");
  }
  CHOIR_ASSIGN_OR_RETURN(const std::string_view type, file_.GetString("general.type", "model"));
  if (type != "model") {
    return absl::InvalidArgumentError(
        fmt::format("general.type is \"{}\": only models are quantised", type));
  }
  for (const std::string& part : options_.keep) {
    const bool known = !part.empty() &&
                       std::any_of(file_.tensors().begin(), file_.tensors().end(),
                                   [&](const GgufTensor& t) { return NameHasPart(t.name, part); });
    if (!known) {
      return absl::InvalidArgumentError(fmt::format("no tensor to keep is called \"{}\"", part));
    }
  }
  return absl::OkStatus();
}

absl::Status Quantizer::Tell(const GgufTensor& tensor, uint64_t done_bytes) const {
  if (!progress_ || progress_(tensor.name, done_bytes, total_bytes_)) return absl::OkStatus();
  return absl::CancelledError("stopped: nothing was written");
}

absl::StatusOr<bool> Quantizer::StaysTernary(const GgufTensor& tensor, const WeightFormat& from) {
  RowConverter converter(from, *options_.format, tensor.row_elements(), options_.threads);
  const size_t piece = converter.PieceRows() * from.RowBytes(tensor.row_elements());
  ConversionError error;
  for (size_t at = 0; at < tensor.bytes.size(); at += piece) {
    CHOIR_RETURN_IF_ERROR(Tell(tensor, done_bytes_));
    converter.Convert(tensor.bytes.subspan(at, std::min(piece, tensor.bytes.size() - at)), error);
    if (!(error.largest_ratio <= kTernaryRounding)) return false;
  }
  return true;
}

absl::StatusOr<Plan> Quantizer::PlanOf(const GgufTensor& tensor) {
  using enum QuantizeReason;
  const auto kept = [&](QuantizeReason reason) {
    return Plan{&tensor, nullptr, nullptr, reason, {}};
  };
  const WeightFormat* const from = FindWeightFormat(tensor.type);
  const bool asked =
      std::any_of(options_.keep.begin(), options_.keep.end(),
                  [&](const std::string& part) { return NameHasPart(tensor.name, part); });
  if (asked) return kept(kAsked);
  if (from == nullptr) return kept(kUnreadable);
  if (tensor.num_dims == 1) {
    return from == &kF32Format ? kept(kVector) : Plan{&tensor, from, &kF32Format, kVector, {}};
  }
  if (from == options_.format) return kept(kSameFormat);
  if (tensor.row_elements() % options_.format->block_elements != 0) {
    return from == &kF16Format ? kept(kRowLength)
                               : Plan{&tensor, from, &kF16Format, kRowLength, {}};
  }
  if (IsTernary(*options_.format)) {
    CHOIR_ASSIGN_OR_RETURN(const bool ternary, StaysTernary(tensor, *from));
    if (!ternary) return kept(kNotTernary);
  }
  return Plan{&tensor, from, options_.format, kConverted, {}};
}

absl::Status Quantizer::MakePlans() {
  for (const GgufTensor& tensor : file_.tensors()) {
    CHOIR_ASSIGN_OR_RETURN(Plan plan, PlanOf(tensor));
    plans_.push_back(plan);
  }
  return absl::OkStatus();
}

absl::Status Quantizer::WriteTensor(Plan& plan, const GgufWriter::ByteSink& sink) {
  const GgufTensor& tensor = *plan.tensor;
  CHOIR_RETURN_IF_ERROR(Tell(tensor, done_bytes_));
  if (plan.to == nullptr) {
    done_bytes_ += tensor.bytes.size();
    return sink(tensor.bytes);
  }
  RowConverter converter(*plan.from, *plan.to, tensor.row_elements(), options_.threads);
  const size_t piece = converter.PieceRows() * plan.from->RowBytes(tensor.row_elements());
  for (size_t at = 0; at < tensor.bytes.size(); at += piece) {
    const auto rows = tensor.bytes.subspan(at, std::min(piece, tensor.bytes.size() - at));
    CHOIR_RETURN_IF_ERROR(sink(converter.Convert(rows, plan.error)));
    if (!std::isfinite(plan.error.squared_error)) {
      return absl::DataLossError(
          fmt::format("tensor {}: has values that are not finite, or too large for {}", tensor.name,
                      plan.to->name));
    }
    done_bytes_ += rows.size();
    CHOIR_RETURN_IF_ERROR(Tell(tensor, done_bytes_));
  }
  return absl::OkStatus();
}

absl::Status Quantizer::Write(const std::string& path) {
  GgufWriter writer(static_cast<uint32_t>(file_.alignment()));
  for (const GgufEntry& entry : file_.entries()) writer.SetEntry(entry);
  writer.SetU32("general.file_type", options_.format->file_type);
  if (options_.format->block_elements > 1) {
    writer.SetU32("general.quantization_version", kQuantizationVersion);
  }
  for (Plan& plan : plans_) {
    const std::span<const uint64_t> dims(plan.tensor->dims.data(), plan.tensor->num_dims);
    CHOIR_RETURN_IF_ERROR(writer.AddTensor(
        plan.tensor->name, plan.TypeId(), dims,
        [this, &plan](const GgufWriter::ByteSink& sink) { return WriteTensor(plan, sink); }));
  }
  return writer.WriteFile(path);
}

QuantizeReport Quantizer::Report() const {
  QuantizeReport report;
  for (const Plan& plan : plans_) {
    const GgufTensor& tensor = *plan.tensor;
    const uint64_t bytes = plan.to != nullptr
                               ? plan.to->RowBytes(tensor.row_elements()) * tensor.num_rows()
                               : tensor.bytes.size();
    report.tensors.push_back({.name = tensor.name,
                              .shape = tensor.ShapeString(),
                              .from = TensorTypeName(tensor.type),
                              .to = TensorTypeName(plan.TypeId()),
                              .from_bytes = tensor.bytes.size(),
                              .to_bytes = bytes,
                              .reason = plan.reason,
                              .relative_error = plan.error.Relative()});
    report.from_bytes += tensor.bytes.size();
    report.to_bytes += bytes;
  }
  return report;
}

}  // namespace

std::string_view ReasonText(QuantizeReason reason) {
  switch (reason) {
    case QuantizeReason::kConverted:
      return "converted";
    case QuantizeReason::kSameFormat:
      return "had this type already";
    case QuantizeReason::kAsked:
      return "kept as asked";
    case QuantizeReason::kVector:
      return "one axis only";
    case QuantizeReason::kRowLength:
      return "rows are no whole number of blocks";
    case QuantizeReason::kNotTernary:
      return "values are not ternary";
    case QuantizeReason::kUnreadable:
      return "a type that this build does not read";
  }
  return "";
}

absl::StatusOr<QuantizeReport> QuantizeModel(const GgufFile& file, const std::string& path,
                                             const QuantizeOptions& options,
                                             const QuantizeProgress& progress) {
  Quantizer quantizer(file, options, progress);
  CHOIR_RETURN_IF_ERROR(quantizer.Check());
  CHOIR_RETURN_IF_ERROR(quantizer.MakePlans());
  CHOIR_RETURN_IF_ERROR(quantizer.Write(path));
  return quantizer.Report();
}

}  // namespace choir::engine
