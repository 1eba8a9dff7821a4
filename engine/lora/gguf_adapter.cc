#include "engine/lora/gguf_adapter.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <utility>

#include <fmt/format.h>

#include "base/file.h"
#include "base/status_macros.h"
#include "engine/gguf/gguf_writer.h"
#include "engine/lora/peft_modules.h"
#include "engine/quant/weight_format.h"

namespace choir::engine {
namespace {

constexpr std::string_view kSuffixA = ".lora_a";
constexpr std::string_view kSuffixB = ".lora_b";
constexpr std::string_view kAlphaKey = "adapter.lora.alpha";
// Absent: none.
constexpr std::string_view kDropoutKey = "choir.lora.dropout";
constexpr std::string_view kBaseModelKey = "choir.base_model.sha256";

struct Factors {
  const GgufTensor* a = nullptr;
  const GgufTensor* b = nullptr;
};

absl::Status ExpectString(const GgufFile& file, std::string_view key, std::string_view wanted) {
  CHOIR_ASSIGN_OR_RETURN(const std::string_view found, file.GetString(key, ""));
  if (found == wanted) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("not a LoRA adapter: {} is \"{}\", not \"{}\"", key, found, wanted));
}

// A and B by the name of their base tensor. Layer-norm weights that some trainers write along are
// left out, as llama.cpp does.
absl::StatusOr<std::map<std::string, Factors>> CollectFactors(const GgufFile& file) {
  std::map<std::string, Factors> out;
  for (const GgufTensor& tensor : file.tensors()) {
    const std::string& name = tensor.name;
    const bool is_a = name.ends_with(kSuffixA);
    if (is_a || name.ends_with(kSuffixB)) {
      Factors& factors = out[name.substr(0, name.size() - kSuffixA.size())];
      (is_a ? factors.a : factors.b) = &tensor;
    } else if (!name.ends_with("_norm.weight")) {
      return absl::InvalidArgumentError(fmt::format(
          "adapter: the tensor {} ends in neither {} nor {}", name, kSuffixA, kSuffixB));
    }
  }
  return out;
}

absl::StatusOr<std::vector<float>> LoadFactor(const GgufTensor& tensor) {
  if (tensor.type != kTensorF32 && tensor.type != kTensorF16) {
    return absl::InvalidArgumentError(fmt::format("adapter: {} is {}; F32 and F16 can be read",
                                                  tensor.name, TensorTypeName(tensor.type)));
  }
  CHOIR_ASSIGN_OR_RETURN(const WeightFormat* format, GetWeightFormat(tensor.type));
  // Memory in proportion to bytes that are there: the tensor lies within the file.
  std::vector<float> out(tensor.num_elements());
  format->dequantize_row(tensor.bytes, out);
  return out;
}

// The rank is the row length of B.
absl::Status CheckShapes(const std::string& name, const Factors& factors) {
  const GgufTensor& a = *factors.a;
  const GgufTensor& b = *factors.b;
  // ggml drops trailing axes of length 1, so A of a rank-1 adapter may come with one axis.
  if (a.num_dims > 2 || b.num_dims != 2) {
    return absl::InvalidArgumentError(
        fmt::format("adapter: {} has A {} and B {}, not two axes each", name, a.ShapeString(),
                    b.ShapeString()));
  }
  const uint64_t rank = b.dims[0];
  if (rank > static_cast<uint64_t>(kMaxLoraRank)) {
    return absl::InvalidArgumentError(
        fmt::format("adapter: {} has rank {}; at most {} is supported", name, rank, kMaxLoraRank));
  }
  const uint64_t rank_of_a = IsLookup(name) ? a.dims[0] : a.dims[1];
  if (rank_of_a != rank) {
    return absl::InvalidArgumentError(
        fmt::format("adapter: {}: A {} and B {} do not multiply: ranks {} and {}", name,
                    a.ShapeString(), b.ShapeString(), rank_of_a, rank));
  }
  return absl::OkStatus();
}

// Of the token embedding: lora_a has a row of ranks for each token, lora_b for each channel.
absl::Status LoadLookup(const Factors& factors, LoraPair& pair) {
  pair.rows = static_cast<int64_t>(factors.a->dims[1]);
  pair.cols = static_cast<int64_t>(factors.b->dims[1]);
  CHOIR_ASSIGN_OR_RETURN(const std::vector<float> channels, LoadFactor(*factors.b));
  pair.a = Transposed(channels, pair.cols, pair.rank);
  CHOIR_ASSIGN_OR_RETURN(pair.b, LoadFactor(*factors.a));
  return absl::OkStatus();
}

absl::StatusOr<LoraPair> LoadPair(const std::string& name, const Factors& factors) {
  CHOIR_RETURN_IF_ERROR(CheckShapes(name, factors));
  LoraPair pair;
  pair.name = name;
  pair.rank = static_cast<int64_t>(factors.b->dims[0]);
  if (IsLookup(name)) {
    CHOIR_RETURN_IF_ERROR(LoadLookup(factors, pair));
    return pair;
  }
  pair.rows = static_cast<int64_t>(factors.b->dims[1]);
  pair.cols = static_cast<int64_t>(factors.a->dims[0]);
  CHOIR_ASSIGN_OR_RETURN(pair.a, LoadFactor(*factors.a));
  CHOIR_ASSIGN_OR_RETURN(pair.b, LoadFactor(*factors.b));
  return pair;
}

absl::Status LoadHead(const GgufFile& file, Adapter& adapter) {
  CHOIR_RETURN_IF_ERROR(ExpectString(file, "general.type", "adapter"));
  CHOIR_RETURN_IF_ERROR(ExpectString(file, "adapter.type", "lora"));
  CHOIR_ASSIGN_OR_RETURN(const std::string_view architecture,
                         file.GetString("general.architecture"));
  CHOIR_ASSIGN_OR_RETURN(const std::string_view base, file.GetString(kBaseModelKey, ""));
  CHOIR_ASSIGN_OR_RETURN(adapter.alpha, file.GetF32(kAlphaKey));
  if (!std::isfinite(adapter.alpha)) {
    return absl::InvalidArgumentError(fmt::format("adapter: {} is {}", kAlphaKey, adapter.alpha));
  }
  CHOIR_ASSIGN_OR_RETURN(adapter.dropout, file.GetF32(kDropoutKey, 0.0f));
  // Written so that NaN fails.
  if (!(adapter.dropout >= 0.0f && adapter.dropout <= 1.0f)) {
    return absl::InvalidArgumentError(
        fmt::format("adapter: {} is {}, outside 0 to 1", kDropoutKey, adapter.dropout));
  }
  adapter.architecture = std::string(architecture);
  adapter.base_model_sha256 = std::string(base);
  return absl::OkStatus();
}

absl::Status AddLookup(const LoraPair& pair, GgufWriter& writer) {
  const uint64_t a_dims[] = {static_cast<uint64_t>(pair.rank), static_cast<uint64_t>(pair.rows)};
  const uint64_t b_dims[] = {static_cast<uint64_t>(pair.rank), static_cast<uint64_t>(pair.cols)};
  CHOIR_RETURN_IF_ERROR(writer.AddF32(fmt::format("{}{}", pair.name, kSuffixA), a_dims, pair.b));
  return writer.AddTensor(fmt::format("{}{}", pair.name, kSuffixB), kTensorF32, b_dims,
                          [&pair](const GgufWriter::ByteSink& sink) {
                            const std::vector<float> channels =
                                Transposed(pair.a, pair.rank, pair.cols);
                            return sink({reinterpret_cast<const uint8_t*>(channels.data()),
                                         channels.size() * sizeof(float)});
                          });
}

absl::Status AddPair(const LoraPair& pair, GgufWriter& writer) {
  if (IsLookup(pair.name)) return AddLookup(pair, writer);
  const auto rank = static_cast<uint64_t>(pair.rank);
  const uint64_t a_dims[] = {static_cast<uint64_t>(pair.cols), rank};
  const uint64_t b_dims[] = {rank, static_cast<uint64_t>(pair.rows)};
  CHOIR_RETURN_IF_ERROR(writer.AddF32(fmt::format("{}{}", pair.name, kSuffixA), a_dims, pair.a));
  return writer.AddF32(fmt::format("{}{}", pair.name, kSuffixB), b_dims, pair.b);
}

// The format has no alpha of a pair's own: moves the difference into B.
void FoldPairAlphas(Adapter& adapter) {
  for (LoraPair& pair : adapter.pairs) {
    const float scale = adapter.Scale(pair);
    pair.alpha = 0.0f;
    const float factor = scale / adapter.Scale(pair);
    if (factor == 1.0f) continue;
    for (float& v : pair.b) v *= factor;
  }
}

bool HasPairAlphas(const Adapter& adapter) {
  return std::any_of(adapter.pairs.begin(), adapter.pairs.end(),
                     [](const LoraPair& pair) { return pair.alpha != 0.0f; });
}

// The writer borrows the adapter's tensors.
absl::StatusOr<GgufWriter> MakeWriter(const Adapter& adapter) {
  GgufWriter writer;
  writer.SetString("general.architecture", adapter.architecture);
  writer.SetString("general.type", "adapter");
  writer.SetString("adapter.type", "lora");
  writer.SetF32(kAlphaKey, adapter.alpha);
  if (adapter.dropout > 0.0f) writer.SetF32(kDropoutKey, adapter.dropout);
  if (!adapter.base_model_sha256.empty()) {
    writer.SetString(kBaseModelKey, adapter.base_model_sha256);
  }
  for (const LoraPair& pair : adapter.pairs) CHOIR_RETURN_IF_ERROR(AddPair(pair, writer));
  return writer;
}

}  // namespace

absl::StatusOr<Adapter> ReadGgufAdapter(const GgufFile& file, AdapterReadReport* report) {
  Adapter adapter;
  CHOIR_RETURN_IF_ERROR(LoadHead(file, adapter));
  CHOIR_ASSIGN_OR_RETURN(const auto factors, CollectFactors(file));
  for (const auto& [name, pair] : factors) {
    if (pair.a == nullptr || pair.b == nullptr) {
      return absl::InvalidArgumentError(
          fmt::format("adapter: {}{} is missing", name, pair.a == nullptr ? kSuffixA : kSuffixB));
    }
    // B of a one-dimensional base tensor is written as (1, rank): one axis.
    if (pair.b->num_dims == 1) {
      if (report != nullptr) {
        report->skipped.push_back(fmt::format("{}: the base tensor is one-dimensional", name));
      }
      continue;
    }
    CHOIR_ASSIGN_OR_RETURN(LoraPair loaded, LoadPair(name, pair));
    adapter.pairs.push_back(std::move(loaded));
  }
  std::sort(adapter.pairs.begin(), adapter.pairs.end(),
            [](const LoraPair& x, const LoraPair& y) { return CanonicalLess(x.name, y.name); });
  CHOIR_RETURN_IF_ERROR(ValidateAdapter(adapter));
  return adapter;
}

absl::StatusOr<Adapter> ReadGgufAdapter(const std::string& path, AdapterReadReport* report) {
  CHOIR_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(path));
  absl::StatusOr<Adapter> adapter = ReadGgufAdapter(file, report);
  if (adapter.ok()) return adapter;
  const std::string message(adapter.status().message());
  return absl::Status(adapter.status().code(), fmt::format("{}: {}", path, message));
}

absl::StatusOr<Adapter> ParseGgufAdapter(std::span<const uint8_t> bytes,
                                         AdapterReadReport* report) {
  CHOIR_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Parse(bytes));
  return ReadGgufAdapter(file, report);
}

absl::Status WriteGgufAdapter(const Adapter& adapter, const std::string& path) {
  CHOIR_RETURN_IF_ERROR(ValidateAdapter(adapter));
  if (HasPairAlphas(adapter)) {
    Adapter folded = adapter;
    FoldPairAlphas(folded);
    return WriteGgufAdapter(folded, path);
  }
  CHOIR_ASSIGN_OR_RETURN(const GgufWriter writer, MakeWriter(adapter));
  return writer.WriteFile(path);
}

absl::StatusOr<std::string> SerializeGgufAdapter(const Adapter& adapter) {
  CHOIR_RETURN_IF_ERROR(ValidateAdapter(adapter));
  if (HasPairAlphas(adapter)) {
    Adapter folded = adapter;
    FoldPairAlphas(folded);
    return SerializeGgufAdapter(folded);
  }
  CHOIR_ASSIGN_OR_RETURN(const GgufWriter writer, MakeWriter(adapter));
  return writer.Serialize();
}

}  // namespace choir::engine
