#include "engine/convert/row_converter.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <system_error>
#include <thread>

namespace choir::engine {
namespace {

// Values of a piece: 4 MiB of f32 over all threads, a fraction of a second's work.
constexpr size_t kPieceElements = size_t{1} << 20;

void AddRow(std::span<const float> before, std::span<const float> after, ConversionError& error) {
  for (size_t i = 0; i < before.size(); ++i) {
    const double was = before[i];
    const double is = after[i];
    const double change = std::abs(is - was);
    error.squared_error += change * change;
    error.squared_values += was * was;
    if (change == 0) continue;
    const double ratio = is != 0 ? change / std::abs(is) : std::numeric_limits<double>::infinity();
    error.largest_ratio = std::max(error.largest_ratio, ratio);
  }
}

}  // namespace

void ConversionError::Add(const ConversionError& other) {
  squared_error += other.squared_error;
  squared_values += other.squared_values;
  largest_ratio = std::max(largest_ratio, other.largest_ratio);
}

double ConversionError::Relative() const {
  return squared_values > 0 ? std::sqrt(squared_error / squared_values) : 0.0;
}

RowConverter::RowConverter(const WeightFormat& from, const WeightFormat& to, size_t cols,
                           int threads)
    : from_(from), to_(to), cols_(cols), threads_(static_cast<size_t>(std::max(threads, 1))) {}

size_t RowConverter::PieceRows() const {
  return std::max<size_t>(kPieceElements / cols_, 1);
}

std::span<const uint8_t> RowConverter::Convert(std::span<const uint8_t> rows,
                                               ConversionError& error) {
  const size_t count = rows.size() / from_.RowBytes(cols_);
  out_.resize(count * to_.RowBytes(cols_));
  const size_t ranges = std::min(threads_, std::max<size_t>(count, 1));
  std::vector<ConversionError> errors(ranges);
  const auto work = [&](size_t range) {
    errors[range] = ConvertRange(rows, count * range / ranges, count * (range + 1) / ranges);
  };
  std::vector<std::thread> helpers;
  for (size_t range = 1; range < ranges; ++range) {
    try {
      helpers.emplace_back(work, range);
    } catch (const std::system_error&) {
      work(range);  // the system has no thread left
    }
  }
  work(0);
  for (std::thread& helper : helpers) helper.join();
  for (const ConversionError& part : errors) error.Add(part);
  return out_;
}

ConversionError RowConverter::ConvertRange(std::span<const uint8_t> rows, size_t begin,
                                           size_t end) {
  const size_t from_bytes = from_.RowBytes(cols_);
  const size_t to_bytes = to_.RowBytes(cols_);
  std::vector<float> before(cols_);
  std::vector<float> after(cols_);
  ConversionError error;
  for (size_t row = begin; row < end; ++row) {
    const std::span<uint8_t> out = std::span(out_).subspan(row * to_bytes, to_bytes);
    from_.dequantize_row(rows.subspan(row * from_bytes, from_bytes), before);
    to_.quantize_row(before, out);
    to_.dequantize_row(out, after);
    AddRow(before, after, error);
  }
  return error;
}

}  // namespace choir::engine
