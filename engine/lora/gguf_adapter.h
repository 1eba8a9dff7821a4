#ifndef CHOIR_ENGINE_LORA_GGUF_ADAPTER_H_
#define CHOIR_ENGINE_LORA_GGUF_ADAPTER_H_

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

#include "engine/gguf/gguf_file.h"
#include "engine/lora/adapter.h"

namespace choir::engine {

// LoRA adapters in the GGUF form that llama.cpp loads with --lora: general.type "adapter",
// adapter.type "lora", adapter.lora.alpha, and tensors <base tensor>.lora_a (rank, in) and
// <base tensor>.lora_b (out, rank).

// What a read left out, for the user: "output_norm.weight: base tensor is one-dimensional".
struct AdapterReadReport {
  std::vector<std::string> skipped;
};

// Reads an adapter, F32 or F16. Pairs of a one-dimensional base tensor are skipped (some trainers
// write them, llama.cpp ignores them). INVALID_ARGUMENT: not an adapter, another element type, a
// half pair, a rank of 0 or above kMaxLoraRank, shapes that do not multiply, alpha not finite, no
// pair left. DATA_LOSS: the container is damaged.
absl::StatusOr<Adapter> ReadGgufAdapter(const GgufFile& file, AdapterReadReport* report = nullptr);
absl::StatusOr<Adapter> ReadGgufAdapter(const std::string& path,
                                        AdapterReadReport* report = nullptr);
// The same from bytes in memory (a downloaded blob).
absl::StatusOr<Adapter> ParseGgufAdapter(std::span<const uint8_t> bytes,
                                         AdapterReadReport* report = nullptr);

// Writes F32, in canonical order; the same adapter gives the same bytes. The file has one alpha:
// the B of a pair with its own is multiplied by what its scale differs (exact for powers of two,
// within f32 rounding otherwise). INVALID_ARGUMENT if it does not pass ValidateAdapter.
absl::Status WriteGgufAdapter(const Adapter& adapter, const std::string& path);
absl::StatusOr<std::string> SerializeGgufAdapter(const Adapter& adapter);

}  // namespace choir::engine

#endif  // CHOIR_ENGINE_LORA_GGUF_ADAPTER_H_
