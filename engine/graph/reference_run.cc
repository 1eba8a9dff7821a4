#include "engine/graph/reference_run.h"

#include <fmt/format.h>

#include "base/check.h"
#include "base/status_macros.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

absl::Status CheckValue(const Graph& graph, TensorId id, const RefValues& values) {
  const Tensor& tensor = graph.tensor(id);
  if (tensor.kind == TensorKind::kIntermediate) return absl::OkStatus();
  const auto found = values.find(id);
  if (found == values.end()) {
    return absl::InvalidArgumentError(fmt::format("no value for {}", tensor.name));
  }
  const auto count = static_cast<size_t>(tensor.desc.shape.NumElements());
  const bool is_i32 = tensor.desc.dtype == DType::kI32;
  const size_t have = is_i32 ? found->second.ints.size() : found->second.values.size();
  if (have == count && found->second.shape == tensor.desc.shape) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} is {} and has {} values", tensor.name, ToString(tensor.desc), have));
}

void RunNode(const Graph& graph, const Node& node, RefValues& values) {
  std::vector<RefTensor> inputs;
  std::vector<RefTensor> outputs;
  std::vector<RefTensor> updates;
  for (const TensorId id : node.inputs) inputs.push_back(values.at(id));
  for (const TensorId id : node.updates) updates.push_back(values.at(id));
  for (const TensorId id : node.outputs) outputs.push_back(RefZeros(graph.tensor(id).desc));
  node.op->reference({node.attrs, inputs, outputs, updates});
  for (size_t i = 0; i < outputs.size(); ++i) values[node.outputs[i]] = std::move(outputs[i]);
  for (size_t i = 0; i < updates.size(); ++i) {
    // A cache holds what its format can.
    const TensorDesc& desc = graph.tensor(node.updates[i]).desc;
    if (desc.dtype == DType::kWeight) updates[i] = RefWeight(desc, EncodeRows(desc, updates[i]));
    values[node.updates[i]] = std::move(updates[i]);
  }
}

}  // namespace

absl::Status RunReference(const Graph& graph, RefValues& values) {
  for (size_t id = 0; id < graph.tensors().size(); ++id) {
    CHOIR_RETURN_IF_ERROR(CheckValue(graph, static_cast<TensorId>(id), values));
  }
  for (const Node& node : graph.nodes()) RunNode(graph, node, values);
  return absl::OkStatus();
}

RefTensor RefWeight(const TensorDesc& desc, std::span<const uint8_t> bytes) {
  CHOIR_CHECK(desc.dtype == DType::kWeight && desc.format != nullptr);
  CHOIR_CHECK(bytes.size() == static_cast<size_t>(SizeBytes(desc)));
  const auto cols = static_cast<size_t>(desc.shape.cols);
  const size_t row_bytes = desc.format->RowBytes(cols);
  std::vector<float> row(cols);
  RefTensor result = RefZeros(desc);
  result.values.clear();
  for (size_t i = 0; i < static_cast<size_t>(desc.shape.rows); ++i) {
    desc.format->dequantize_row(bytes.subspan(i * row_bytes, row_bytes), row);
    result.values.insert(result.values.end(), row.begin(), row.end());
  }
  return result;
}

std::vector<uint8_t> EncodeRows(const TensorDesc& desc, const RefTensor& tensor) {
  CHOIR_CHECK(desc.dtype == DType::kWeight && desc.format->quantize_row != nullptr);
  const std::vector<float> values(tensor.values.begin(), tensor.values.end());
  const auto cols = static_cast<size_t>(desc.shape.cols);
  const size_t row_bytes = desc.format->RowBytes(cols);
  std::vector<uint8_t> bytes(static_cast<size_t>(SizeBytes(desc)));
  for (size_t row = 0; row < static_cast<size_t>(desc.shape.rows); ++row) {
    desc.format->quantize_row(std::span(values).subspan(row * cols, cols),
                              std::span(bytes).subspan(row * row_bytes, row_bytes));
  }
  return bytes;
}

RefTensor RefF32(Shape shape, std::vector<double> values) {
  CHOIR_CHECK(values.size() == static_cast<size_t>(shape.NumElements()));
  return {shape, std::move(values), {}};
}

RefTensor RefI32(Shape shape, std::vector<int32_t> values) {
  CHOIR_CHECK(values.size() == static_cast<size_t>(shape.NumElements()));
  return {shape, {}, std::move(values)};
}

RefTensor RefZeros(const TensorDesc& desc) {
  const auto count = static_cast<size_t>(desc.shape.NumElements());
  if (desc.dtype == DType::kI32) return {desc.shape, {}, std::vector<int32_t>(count)};
  return {desc.shape, std::vector<double>(count), {}};
}

}  // namespace choir::engine
