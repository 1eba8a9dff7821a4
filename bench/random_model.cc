#include "bench/random_model.h"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <map>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include "base/status_macros.h"
#include "engine/gguf/gguf_writer.h"
#include "engine/model/architecture.h"

namespace choir::bench {
namespace {

using engine::GgufWriter;
using engine::NeededTensor;
using engine::WeightFormat;

// Distinct rows of a matrix: more than any kernel's block, few enough to draw in no time.
constexpr int64_t kDistinctRows = 256;

std::vector<NeededTensor> TensorsOf(const ModelShape& shape,
                                    const engine::Architecture& architecture) {
  const engine::ModelSpec spec = shape.Spec();
  std::vector<NeededTensor> tensors = {
      NeededTensor::Matrix("token_embd.weight", shape.vocabulary, shape.channels),
      NeededTensor::Vector("output_norm.weight", shape.channels)};
  if (!shape.tied_output) {
    tensors.push_back(NeededTensor::Matrix("output.weight", shape.vocabulary, shape.channels));
  }
  for (int64_t layer = 0; layer < shape.layers; ++layer) {
    for (NeededTensor& tensor : architecture.layer_tensors(spec, layer)) {
      if (!tensor.is_optional_factor) tensors.push_back(std::move(tensor));
    }
  }
  return tensors;
}

bool IsTernary(const WeightFormat& format) {
  return &format == &engine::kTQ1_0Format || &format == &engine::kTQ2_0Format;
}

const WeightFormat& FormatOf(const NeededTensor& tensor, const WeightFormat& format) {
  if (tensor.is_vector) return engine::kF32Format;
  const bool vocabulary = tensor.name == "token_embd.weight" || tensor.name == "output.weight";
  return vocabulary && IsTernary(format) ? engine::kQ6_KFormat : format;
}

// Encoded rows of uniform values with variance 1/C, so that activations keep their size.
std::vector<uint8_t> DrawRows(const WeightFormat& format, int64_t rows, int64_t cols) {
  std::vector<float> row(static_cast<size_t>(cols));
  const size_t row_bytes = format.RowBytes(row.size());
  std::vector<uint8_t> encoded(row_bytes * static_cast<size_t>(rows));
  const float scale = std::sqrt(3.0F / static_cast<float>(cols));
  uint32_t seed = 1;
  for (int64_t r = 0; r < rows; ++r) {
    for (float& value : row) {
      seed = seed * 1664525U + 1013904223U;
      value = (static_cast<float>(seed >> 8) / 8388608.0F - 1.0F) * scale;
    }
    format.quantize_row(row, {encoded.data() + static_cast<size_t>(r) * row_bytes, row_bytes});
  }
  return encoded;
}

// Panels of rows, drawn once for each format and width.
class Panels {
 public:
  std::span<const uint8_t> Get(const WeightFormat& format, int64_t cols) {
    std::vector<uint8_t>& panel = panels_[{&format, cols}];
    if (panel.empty()) panel = DrawRows(format, kDistinctRows, cols);
    return panel;
  }

 private:
  std::map<std::pair<const WeightFormat*, int64_t>, std::vector<uint8_t>> panels_;
};

GgufWriter::TensorSource SourceOf(const NeededTensor& tensor, const WeightFormat& format,
                                  Panels& panels) {
  if (tensor.is_vector) {
    return [count = tensor.cols](const GgufWriter::ByteSink& sink) {
      const std::vector<float> ones(static_cast<size_t>(count), 1.0F);
      return sink({reinterpret_cast<const uint8_t*>(ones.data()), ones.size() * sizeof(float)});
    };
  }
  return [&format, &panels, rows = tensor.rows,
          cols = tensor.cols](const GgufWriter::ByteSink& sink) -> absl::Status {
    const std::span<const uint8_t> panel = panels.Get(format, cols);
    const size_t row_bytes = panel.size() / static_cast<size_t>(kDistinctRows);
    for (int64_t row = 0; row < rows; row += kDistinctRows) {
      const auto count = static_cast<size_t>(std::min(kDistinctRows, rows - row));
      CHOIR_RETURN_IF_ERROR(sink(panel.first(count * row_bytes)));
    }
    return absl::OkStatus();
  };
}

void SetHyperparameters(const ModelShape& shape, GgufWriter& writer) {
  const auto set = [&](std::string_view key, int64_t value) {
    writer.SetU32(fmt::format("{}.{}", shape.architecture, key), static_cast<uint32_t>(value));
  };
  writer.SetString("general.architecture", shape.architecture);
  set("block_count", shape.layers);
  set("embedding_length", shape.channels);
  set("feed_forward_length", shape.feed_forward);
  set("context_length", shape.Spec().context_length);
  set("attention.head_count", shape.heads);
  set("attention.head_count_kv", shape.kv_heads);
  set("attention.key_length", shape.head_size);
  set("attention.value_length", shape.head_size);
  set("rope.dimension_count", shape.head_size);
  set("vocab_size", shape.vocabulary);
  writer.SetF32(fmt::format("{}.attention.layer_norm_rms_epsilon", shape.architecture), 1e-5F);
}

absl::Status Write(const ModelShape& shape, const WeightFormat& format,
                   const engine::GgufFile* tokenizer, const std::string& path) {
  CHOIR_ASSIGN_OR_RETURN(const engine::Architecture* architecture,
                         engine::FindArchitecture(shape.architecture));
  GgufWriter writer;
  SetHyperparameters(shape, writer);
  if (tokenizer != nullptr) {
    for (const engine::GgufEntry& entry : tokenizer->entries()) {
      if (entry.key.starts_with("tokenizer.")) writer.SetEntry(entry);
    }
  }
  Panels panels;
  for (const NeededTensor& tensor : TensorsOf(shape, *architecture)) {
    const WeightFormat& own = FormatOf(tensor, format);
    if (own.quantize_row == nullptr || static_cast<size_t>(tensor.cols) % own.block_elements != 0) {
      return absl::InvalidArgumentError(
          fmt::format("{} cannot be written as {}: rows of {} values, blocks of {}", tensor.name,
                      own.name, tensor.cols, own.block_elements));
    }
    std::vector<uint64_t> dims = {static_cast<uint64_t>(tensor.cols)};
    if (!tensor.is_vector) dims.push_back(static_cast<uint64_t>(tensor.rows));
    CHOIR_RETURN_IF_ERROR(
        writer.AddTensor(tensor.name, own.type_id, dims, SourceOf(tensor, own, panels)));
  }
  return writer.WriteFile(path);
}

}  // namespace

absl::StatusOr<engine::Model> MakeRandomModel(const ModelShape& shape, const WeightFormat& format,
                                              const engine::GgufFile* tokenizer,
                                              const std::string& folder) {
  const std::string path =
      (std::filesystem::path(folder) / fmt::format("choir-bench-{}.gguf", ::getpid())).string();
  const absl::Status written = Write(shape, format, tokenizer, path);
  absl::StatusOr<engine::Model> model =
      written.ok() ? engine::Model::Open(path) : absl::StatusOr<engine::Model>(written);
  std::remove(path.c_str());
  return model;
}

}  // namespace choir::bench
