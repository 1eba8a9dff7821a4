#include "engine/model/model_spec.h"

#include <cmath>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/model/architecture.h"
#include "engine/model/key_reader.h"
#include "engine/model/model_tensors.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

// Far above any real model, far below what could overflow a product of two.
constexpr uint32_t kMaxWidth = uint32_t{1} << 20;
constexpr uint32_t kMaxHeadSize = 1024;
constexpr uint32_t kMaxContext = uint32_t{1} << 26;

absl::Status ReadHeads(const KeyReader& keys, ModelSpec& spec) {
  CHOIR_ASSIGN_OR_RETURN(spec.num_heads, keys.Size("attention.head_count", kMaxWidth));
  CHOIR_ASSIGN_OR_RETURN(spec.num_kv_heads,
                         keys.Size("attention.head_count_kv", kMaxWidth, spec.num_heads));
  if (spec.num_heads % spec.num_kv_heads != 0) {
    return absl::InvalidArgumentError(fmt::format("{} heads are no multiple of {} key/value heads",
                                                  spec.num_heads, spec.num_kv_heads));
  }
  std::optional<int64_t> shared;
  if (spec.channels % spec.num_heads == 0) shared = spec.channels / spec.num_heads;
  CHOIR_ASSIGN_OR_RETURN(spec.head_size, keys.Size("attention.key_length", kMaxHeadSize, shared));
  CHOIR_ASSIGN_OR_RETURN(const int64_t value_length,
                         keys.Size("attention.value_length", kMaxHeadSize, spec.head_size));
  if (value_length != spec.head_size) {
    return absl::UnimplementedError(fmt::format("keys have {} columns and values {}: not supported",
                                                spec.head_size, value_length));
  }
  spec.attention_scale = 1 / std::sqrt(static_cast<double>(spec.head_size));
  return absl::OkStatus();
}

absl::Status ReadRope(const KeyReader& keys, ModelSpec& spec) {
  CHOIR_ASSIGN_OR_RETURN(
      spec.rope_dims,
      keys.Size("rope.dimension_count", static_cast<uint32_t>(spec.head_size), spec.head_size));
  if (spec.rope_dims % 2 != 0) {
    return absl::InvalidArgumentError(
        fmt::format("{} is {}, must be even", keys.Full("rope.dimension_count"), spec.rope_dims));
  }
  CHOIR_ASSIGN_OR_RETURN(const double base, keys.Number("rope.freq_base", 1, 1e12, 10000.0f));
  CHOIR_ASSIGN_OR_RETURN(const std::string_view scaling, keys.String("rope.scaling.type", "none"));
  CHOIR_ASSIGN_OR_RETURN(const double factor, keys.Number("rope.scaling.factor", 1e-3, 1e6, 1.0f));
  if (scaling != "none" && scaling != "linear") {
    return absl::UnimplementedError(fmt::format("{} is \"{}\"; this build knows none and linear",
                                                keys.Full("rope.scaling.type"), scaling));
  }
  for (LayerSpec& layer : spec.layers) {
    layer.rope_base = base;
    layer.rope_pos_scale = scaling == "linear" ? 1 / factor : 1;
  }
  return absl::OkStatus();
}

absl::Status ReadCommon(const GgufFile& file, ModelSpec& spec) {
  const KeyReader keys(file, spec.architecture);
  CHOIR_ASSIGN_OR_RETURN(const int64_t layers, keys.Size("block_count", kMaxLayers));
  spec.layers.resize(static_cast<size_t>(layers));
  CHOIR_ASSIGN_OR_RETURN(spec.channels, keys.Size("embedding_length", kMaxWidth));
  CHOIR_ASSIGN_OR_RETURN(spec.feed_forward, keys.Size("feed_forward_length", kMaxWidth));
  CHOIR_ASSIGN_OR_RETURN(spec.context_length, keys.Size("context_length", kMaxContext));
  CHOIR_ASSIGN_OR_RETURN(spec.rms_eps, keys.Number("attention.layer_norm_rms_epsilon", 0, 1));
  CHOIR_RETURN_IF_ERROR(ReadHeads(keys, spec));
  return ReadRope(keys, spec);
}

}  // namespace

std::string LayerTensorName(int64_t layer, std::string_view name) {
  return fmt::format("blk.{}.{}", layer, name);
}

std::string LayerWeightName(int64_t layer, std::string_view part) {
  return fmt::format("blk.{}.{}.weight", layer, part);
}

absl::StatusOr<TensorDesc> WeightDesc(const GgufTensor& tensor) {
  const absl::StatusOr<const WeightFormat*> format = GetWeightFormat(tensor.type);
  if (!format.ok()) {
    return absl::Status(
        format.status().code(),
        fmt::format("tensor {}: {}", tensor.name, std::string(format.status().message())));
  }
  return Weight(*format, static_cast<int64_t>(tensor.num_rows()),
                static_cast<int64_t>(tensor.row_elements()));
}

absl::StatusOr<ModelSpec> ReadModelSpec(const GgufFile& file) {
  ModelSpec spec;
  CHOIR_ASSIGN_OR_RETURN(const std::string_view name, file.GetString("general.architecture"));
  CHOIR_ASSIGN_OR_RETURN(const Architecture* architecture, FindArchitecture(name));
  spec.architecture = std::string(name);
  CHOIR_RETURN_IF_ERROR(ReadCommon(file, spec));
  CHOIR_RETURN_IF_ERROR(ReadTensorChoices(file, spec));
  CHOIR_RETURN_IF_ERROR(architecture->complete_spec(file, spec));
  CHOIR_RETURN_IF_ERROR(CheckTensors(file, *architecture, spec));
  return spec;
}

}  // namespace choir::engine
