#include "bench/model_shape.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace choir::bench {
namespace {

// Columns: layers, C, F, H, KV, D, V, tied. qwen3-0.6b and llama-1b are Qwen3-0.6B and Llama 3.2
// 1B; bitnet-0.7b is 1bitLLM's "large", bitnet-2b Microsoft's 2B-4T; bitnet-1b and bitnet-13b have
// the widths of llama models of that size, rounded to whole blocks of 256.
constexpr ModelShape kShapes[] = {
    {"llama-134m", "llama", 12, 768, 2048, 12, 12, 64, 32000, false},
    {"qwen3-0.6b", "qwen3", 28, 1024, 3072, 16, 8, 128, 151936, true},
    {"llama-1b", "llama", 16, 2048, 8192, 32, 8, 64, 128256, true},
    {"bitnet-0.7b", "bitnet", 24, 1536, 4096, 16, 16, 96, 32002, true},
    {"bitnet-1b", "bitnet", 22, 2048, 5632, 32, 32, 64, 32002, true},
    {"bitnet-2b", "bitnet-b1.58", 30, 2560, 6912, 20, 5, 128, 128256, true},
    {"bitnet-13b", "bitnet", 40, 5120, 13824, 40, 40, 128, 32002, true},
};

constexpr int64_t kContext = 32768;

}  // namespace

const ModelShape kQuickShape = {"quick", "llama", 2, 256, 512, 4, 2, 64, 512, true};

std::span<const ModelShape> AllModelShapes() {
  return kShapes;
}

engine::ModelSpec ModelShape::Spec() const {
  engine::ModelSpec spec;
  spec.architecture = std::string(architecture);
  spec.channels = channels;
  spec.num_heads = heads;
  spec.num_kv_heads = kv_heads;
  spec.head_size = head_size;
  spec.feed_forward = feed_forward;
  spec.vocabulary = vocabulary;
  spec.context_length = kContext;
  spec.rope_dims = head_size;
  spec.tied_output = tied_output;
  spec.layers.resize(static_cast<size_t>(layers));
  return spec;
}

std::vector<std::string> ModelShapeNames() {
  std::vector<std::string> names;
  for (const ModelShape& shape : kShapes) names.emplace_back(shape.name);
  return names;
}

absl::StatusOr<ModelShape> FindModelShape(std::string_view name) {
  for (const ModelShape& shape : kShapes) {
    if (shape.name == name) return shape;
  }
  return absl::InvalidArgumentError(
      fmt::format("no shape {}; there are {}", name, fmt::join(ModelShapeNames(), ", ")));
}

}  // namespace choir::bench
