#ifndef CHOIR_ENGINE_CONVERT_ROW_CONVERTER_H_
#define CHOIR_ENGINE_CONVERT_ROW_CONVERTER_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/quant/weight_format.h"

namespace choir::engine {

// How far converted values lie from what they were.
struct ConversionError {
  double squared_error = 0;
  double squared_values = 0;
  // Largest |change| / |new value|; infinite where a value became zero.
  double largest_ratio = 0;

  void Add(const ConversionError& other);
  // Root of the mean squared change, as a share of that of the values; 0 for zeros.
  [[nodiscard]] double Relative() const;
};

// Rows of a weight from one format to another, in pieces, on several threads. Rows do not depend on
// each other, so the number of threads changes no byte. Not thread-safe itself.
class RowConverter {
 public:
  // Both formats have static lifetime; `to` can be written; `cols` is a whole number of blocks of
  // both. threads >= 1.
  RowConverter(const WeightFormat& from, const WeightFormat& to, size_t cols, int threads);

  // Rows that one Convert() should get: enough work for all threads, bounded memory.
  [[nodiscard]] size_t PieceRows() const;

  // `rows`: whole rows of `from`. The result is valid until the next call.
  std::span<const uint8_t> Convert(std::span<const uint8_t> rows, ConversionError& error);

 private:
  ConversionError ConvertRange(std::span<const uint8_t> rows, size_t begin, size_t end);

  const WeightFormat& from_;
  const WeightFormat& to_;
  size_t cols_;
  size_t threads_;
  std::vector<uint8_t> out_;
};

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_CONVERT_ROW_CONVERTER_H_
