#include "engine/model/model_tensors.h"

#include <cmath>
#include <cstring>
#include <set>
#include <string>

#include <fmt/format.h>

#include "base/check.h"
#include "base/status_macros.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr std::string_view kEmbedding = "token_embd.weight";
constexpr std::string_view kOutput = "output.weight";
constexpr std::string_view kOutputNorm = "output_norm.weight";
constexpr std::string_view kRopeFactors = "rope_freqs.weight";

// Token ids are i32, and no vocabulary in use has more than a few hundred thousand.
constexpr uint64_t kMaxVocabulary = uint64_t{1} << 24;

// What the op `scale` takes; real factors are below 100.
constexpr double kMaxFactor = 1e6;

std::vector<NeededTensor> NeededTensors(const Architecture& architecture, const ModelSpec& spec) {
  std::vector<NeededTensor> needed = {
      NeededTensor::Matrix(std::string(kEmbedding), spec.vocabulary, spec.channels),
      NeededTensor::Vector(std::string(kOutputNorm), spec.channels)};
  if (!spec.tied_output) {
    needed.push_back(NeededTensor::Matrix(std::string(kOutput), spec.vocabulary, spec.channels));
  }
  if (spec.rope_factors) {
    needed.push_back(NeededTensor::Vector(std::string(kRopeFactors), spec.rope_dims / 2));
  }
  for (size_t layer = 0; layer < spec.layers.size(); ++layer) {
    std::vector<NeededTensor> tensors =
        architecture.layer_tensors(spec, static_cast<int64_t>(layer));
    std::move(tensors.begin(), tensors.end(), std::back_inserter(needed));
  }
  return needed;
}

absl::Status CheckTensor(const GgufFile& file, const NeededTensor& needed) {
  if (needed.is_optional_factor && file.FindTensor(needed.name) == nullptr) return absl::OkStatus();
  CHOIR_ASSIGN_OR_RETURN(const GgufTensor* tensor, file.GetTensor(needed.name));
  CHOIR_ASSIGN_OR_RETURN(const TensorDesc desc, WeightDesc(*tensor));
  const uint32_t axes = needed.is_vector ? 1 : 2;
  if (tensor->num_dims != axes || desc.shape != Shape{needed.rows, needed.cols}) {
    const std::string want = needed.is_vector ? fmt::format("[{}]", needed.cols)
                                              : fmt::format("[{}, {}]", needed.cols, needed.rows);
    return absl::InvalidArgumentError(
        fmt::format("tensor {} has shape {}; the hyperparameters say {}", needed.name,
                    tensor->ShapeString(), want));
  }
  if (needed.is_vector && desc.format != &kF32Format) {
    return absl::UnimplementedError(fmt::format("tensor {} has format {}; vectors must be F32",
                                                needed.name, desc.format->name));
  }
  if (needed.is_optional_factor) return FactorOf(*tensor).status();
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadTensorChoices(const GgufFile& file, ModelSpec& spec) {
  CHOIR_ASSIGN_OR_RETURN(const GgufTensor* embedding, file.GetTensor(kEmbedding));
  const uint64_t vocabulary = embedding->num_rows();
  const std::string key = fmt::format("{}.vocab_size", spec.architecture);
  CHOIR_ASSIGN_OR_RETURN(const uint64_t stated, file.GetU64(key, vocabulary));
  if (vocabulary < 1 || vocabulary > kMaxVocabulary || stated != vocabulary) {
    return absl::InvalidArgumentError(
        fmt::format("{} has {} rows and the vocabulary {} tokens; they must agree, from 1 to {}",
                    kEmbedding, vocabulary, stated, kMaxVocabulary));
  }
  spec.vocabulary = static_cast<int64_t>(vocabulary);
  spec.tied_output = file.FindTensor(kOutput) == nullptr;
  spec.rope_factors = file.FindTensor(kRopeFactors) != nullptr;
  return absl::OkStatus();
}

absl::StatusOr<double> FactorOf(const GgufTensor& tensor) {
  float value = 0;
  CHOIR_CHECK(tensor.bytes.size() == sizeof(value));
  std::memcpy(&value, tensor.bytes.data(), sizeof(value));
  const auto factor = static_cast<double>(value);
  // Written so that NaN fails.
  if (std::abs(factor) <= kMaxFactor) return factor;
  return absl::InvalidArgumentError(
      fmt::format("tensor {} is {}; a factor lies within {}", tensor.name, value, kMaxFactor));
}

absl::Status CheckTensors(const GgufFile& file, const Architecture& architecture,
                          const ModelSpec& spec) {
  std::set<std::string_view> read;
  const std::vector<NeededTensor> needed = NeededTensors(architecture, spec);
  for (const NeededTensor& tensor : needed) {
    CHOIR_RETURN_IF_ERROR(CheckTensor(file, tensor));
    read.insert(tensor.name);
  }
  for (const GgufTensor& tensor : file.tensors()) {
    if (read.contains(tensor.name)) continue;
    return absl::UnimplementedError(
        fmt::format("tensor {} is no part of a {} network as this build knows it", tensor.name,
                    architecture.name));
  }
  return absl::OkStatus();
}

}  // namespace choir::engine
