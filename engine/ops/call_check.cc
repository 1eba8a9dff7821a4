#include "engine/ops/call_check.h"

#include <cmath>

#include <fmt/format.h>

#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

std::string ListOf(std::span<const TensorDesc> tensors) {
  std::string list;
  for (const TensorDesc& tensor : tensors) {
    if (!list.empty()) list += ", ";
    list += ToString(tensor);
  }
  return list;
}

std::string_view TypeWord(DType dtype) {
  if (dtype == DType::kI32) return "i32";
  return dtype == DType::kF32 ? "f32" : "weight";
}

std::string ExtentWord(int64_t extent) {
  return extent == kAnyExtent ? "any" : fmt::format("{}", extent);
}

bool ExtentsAreSane(const Shape& shape) {
  return shape.rows >= 1 && shape.cols >= 1 && shape.rows <= CallCheck::kMaxExtent &&
         shape.cols <= CallCheck::kMaxExtent && shape.cols <= CallCheck::kMaxElements / shape.rows;
}

}  // namespace

void CallCheck::Counts(size_t num_inputs, size_t num_updates) {
  Require(inputs_.size() == num_inputs && updates_.size() == num_updates,
          fmt::format("takes {} inputs and {} updates, got {} and {}", num_inputs, num_updates,
                      inputs_.size(), updates_.size()));
  for (const std::span<const TensorDesc>& tensors : {inputs_, updates_}) {
    for (const TensorDesc& tensor : tensors) {
      Require(ExtentsAreSane(tensor.shape), "a shape is empty or too large");
    }
  }
}

void CallCheck::Matches(std::span<const TensorDesc> tensors, size_t index, std::string_view name,
                        DType dtype, int64_t rows, int64_t cols) {
  if (!ok() || index >= tensors.size()) return;
  const TensorDesc& tensor = tensors[index];
  const bool fits = tensor.dtype == dtype && (rows == kAnyExtent || rows == tensor.shape.rows) &&
                    (cols == kAnyExtent || cols == tensor.shape.cols);
  if (fits) return;
  Require(false, fmt::format("{} must be {} {}x{}, got {}", name, TypeWord(dtype), ExtentWord(rows),
                             ExtentWord(cols), ToString(tensor)));
}

void CallCheck::IsF32(size_t input, std::string_view name, int64_t rows, int64_t cols) {
  Matches(inputs_, input, name, DType::kF32, rows, cols);
}

void CallCheck::IsI32(size_t input, std::string_view name, int64_t rows, int64_t cols) {
  Matches(inputs_, input, name, DType::kI32, rows, cols);
}

void CallCheck::IsWeight(size_t input, std::string_view name, int64_t rows, int64_t cols) {
  Matches(inputs_, input, name, DType::kWeight, rows, cols);
  if (!ok()) return;
  const WeightFormat* format = inputs_[input].format;
  Require(format != nullptr, fmt::format("{} has no weight format", name));
  if (!ok()) return;
  Require(this->cols(input) % static_cast<int64_t>(format->block_elements) == 0,
          fmt::format("rows of {} are no whole number of {} blocks ({} elements each)", name,
                      format->name, format->block_elements));
}

void CallCheck::IsF32Weight(size_t input, std::string_view name, int64_t rows, int64_t cols) {
  IsWeight(input, name, rows, cols);
  if (!ok()) return;
  Require(inputs_[input].format == &kF32Format, fmt::format("{} must have format F32", name));
}

void CallCheck::UpdateIsF32(size_t update, std::string_view name, int64_t rows, int64_t cols) {
  Matches(updates_, update, name, DType::kF32, rows, cols);
}

void CallCheck::CacheMatches(std::span<const TensorDesc> tensors, size_t index,
                             std::string_view name, int64_t rows, int64_t cols) {
  if (!ok() || index >= tensors.size()) return;
  const TensorDesc& tensor = tensors[index];
  Matches(tensors, index, name, tensor.dtype == DType::kWeight ? DType::kWeight : DType::kF32, rows,
          cols);
  if (!ok() || tensor.dtype == DType::kF32) return;
  const WeightFormat* const format = tensor.format;
  Require(format == &kF16Format || format == &kQ8_0Format,
          fmt::format("{} must be f32, F16 or Q8_0", name));
  if (!ok()) return;
  Require(tensor.shape.cols % static_cast<int64_t>(format->block_elements) == 0,
          fmt::format("rows of {} are no whole number of {} blocks ({} elements each)", name,
                      format->name, format->block_elements));
}

void CallCheck::IsCache(size_t input, std::string_view name, int64_t rows, int64_t cols) {
  CacheMatches(inputs_, input, name, rows, cols);
}

void CallCheck::UpdateIsCache(size_t update, std::string_view name, int64_t rows, int64_t cols) {
  CacheMatches(updates_, update, name, rows, cols);
}

double CallCheck::Float(std::string_view name, double min, double max) {
  if (!ok()) return min;
  Require(attrs_.Has(name), fmt::format("attribute {} is missing", name));
  if (!ok()) return min;
  const double value = attrs_.Float(name);
  // Written so that NaN fails.
  Require(value >= min && value <= max,
          fmt::format("attribute {} is {}, must be from {} to {}", name, value, min, max));
  return ok() ? value : min;
}

int64_t CallCheck::Int(std::string_view name, int64_t min, int64_t max) {
  const double value = Float(name, static_cast<double>(min), static_cast<double>(max));
  Require(value == std::floor(value),
          fmt::format("attribute {} is {}, no whole number", name, value));
  return ok() ? static_cast<int64_t>(value) : min;
}

void CallCheck::Require(bool condition, std::string_view demand) {
  if (condition || !ok()) return;
  error_ = fmt::format("{}: {}; inputs ({}), updates ({})", op_, demand, ListOf(inputs_),
                       ListOf(updates_));
}

int64_t CallCheck::rows(size_t input) const {
  return input < inputs_.size() ? inputs_[input].shape.rows : 1;
}

int64_t CallCheck::cols(size_t input) const {
  return input < inputs_.size() ? inputs_[input].shape.cols : 1;
}

Shape CallCheck::update_shape(size_t update) const {
  return update < updates_.size() ? updates_[update].shape : Shape{};
}

absl::StatusOr<std::vector<TensorDesc>> CallCheck::Outputs(std::vector<TensorDesc> outputs) const {
  if (!ok()) return absl::InvalidArgumentError(error_);
  return outputs;
}

}  // namespace choir::engine
