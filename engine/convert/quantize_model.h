#ifndef CHOIR_ENGINE_CONVERT_QUANTIZE_MODEL_H_
#define CHOIR_ENGINE_CONVERT_QUANTIZE_MODEL_H_

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

#include "engine/gguf/gguf_file.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {

struct QuantizeOptions {
  const WeightFormat* format = nullptr;  // for the matrices; one that can be written
  // Tensors that stay as they are: those of which a dotted part of the name equals one of these
  // ("output" keeps output.weight, not attn_output.weight; "blk.0" a whole block).
  std::vector<std::string> keep = {};
  int threads = 1;
};

// Why a tensor has the type that it has in the new file.
enum class QuantizeReason : uint8_t {
  kConverted,
  kSameFormat,  // had it already: copied
  kAsked,       // options.keep: copied
  kVector,      // one axis: F32
  kRowLength,   // its rows are no whole number of blocks: F16
  kNotTernary,  // a ternary format would destroy it: copied
  kUnreadable,  // a type without a weight format (integers, or newer than this build): copied
};
// For people: "rows are no whole number of blocks".
std::string_view ReasonText(QuantizeReason reason);

struct QuantizedTensor {
  std::string name;
  std::string shape;  // as GgufTensor::ShapeString
  std::string from;   // type names
  std::string to;
  uint64_t from_bytes = 0;
  uint64_t to_bytes = 0;
  QuantizeReason reason = QuantizeReason::kConverted;
  // Root mean square of the change, as a share of that of the values; 0 where nothing changed.
  double relative_error = 0;
};

struct QuantizeReport {
  std::vector<QuantizedTensor> tensors;  // in the file's order
  uint64_t from_bytes = 0;               // of all tensors
  uint64_t to_bytes = 0;
};

// Told now and then: the tensor at work and bytes of the old file read so far. False stops.
using QuantizeProgress =
    std::function<bool(std::string_view tensor, uint64_t done_bytes, uint64_t total_bytes)>;

// Writes the model in `file` to `path` with its matrices in another format; all keys are kept, but
// for general.file_type and general.quantization_version. Works through pieces of a few MiB,
// whatever the size of the model, and replaces `path` only when all is written; `path` may be the
// file's own. The ternary formats take only what they hold without loss (but for the rounding of a
// block's scale to f16).
//   INVALID_ARGUMENT  a format that cannot be written, a `keep` that names nothing, an adapter
//   DATA_LOSS         values that are not finite, or become so in this format
//   CANCELLED         `progress` said so
absl::StatusOr<QuantizeReport> QuantizeModel(const GgufFile& file, const std::string& path,
                                             const QuantizeOptions& options,
                                             const QuantizeProgress& progress);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_CONVERT_QUANTIZE_MODEL_H_
